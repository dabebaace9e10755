/**
 * `storage-opts` of daemon.json and `--storage-opt`: pairs of key and value, checked by the driver they are meant for, with
 * Docker's texts.
 */
import { BerthError } from "#errors/errors.ts";

export interface DriverOption {
  /** In small letters: keys are compared so. */
  key: string;
  value: string;
}

/** Docker begins whatever keeps a driver from starting with these words. */
export function cannotStart(driver: string, reason: string, hint?: string, cause?: unknown): BerthError {
  return new BerthError("invalid", `error initializing graphdriver: ${reason}`, {
    operation: "start storage driver",
    object: driver,
    ...(hint === undefined ? {} : { hint }),
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Takes "key=value" apart; spaces around both do not count. */
export function parseDriverOption(driver: string, text: string): DriverOption {
  const equals = text.indexOf("=");
  if (equals < 0) throw cannotStart(driver, `Unable to parse key/value option: ${text}`);
  return { key: text.slice(0, equals).trim().toLowerCase(), value: text.slice(equals + 1).trim() };
}

/** Checks that `text` is a size as Docker's flags take them: "10", "1.5G", "20 MiB". */
export function checkSize(driver: string, text: string): void {
  if (!/^\d+(\.\d+)* ?[kmgtp]?i?b?$/i.test(text)) throw cannotStart(driver, `invalid size: '${text}'`);
}

/** Words for true and false that Go's strconv.ParseBool knows. */
const booleans = /^(1|t|T|TRUE|true|True|0|f|F|FALSE|false|False)$/;

export function checkBoolean(driver: string, text: string): void {
  if (booleans.test(text)) return;
  throw cannotStart(driver, `strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
}
