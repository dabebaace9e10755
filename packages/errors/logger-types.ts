/**
 * How a package writes to the daemon's log: an interface it is given, never a global.
 *
 * Fields carry the facts (ids, durations, statuses) apart from the sentence, so that a reader can filter on them.
 * Nothing secret may be handed in: no credentials, no environment values, no request bodies.
 */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Says nothing: for tests and for packages used as a library. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
};
