/** Reading what shims wrote. */

/** How entries are written: Docker's json-file, or the frames of its local driver. */
export type LogFormName = "json-file" | "local";

/** Where a log's files are: `name` is being written, `name.1`, `name.2.gz` … are older. */
export interface LogLocation {
  directory: string;
  name: string;
  form: LogFormName;
}

export interface LogReadOptions {
  follow: boolean;
  stdout: boolean;
  stderr: boolean;
  /** Nanoseconds since the epoch. */
  since: bigint | undefined;
  until: bigint | undefined;
  /** Prefix every line with its RFC 3339 nanosecond time and a space. */
  timestamps: boolean;
  /** Last n lines only; undefined for all; 0 none. */
  tail: number | undefined;
  /** Prefix attributes (docker logs --details). */
  details: boolean;
  /** Docker's 8-byte stream frames around every line; false for containers with a terminal. */
  framed: boolean;
}

/** What a reader asks about the container while following. */
export interface LogSource extends LogLocation {
  /** Resolves when no more will be written (the container ended). Following stops once all that was written is read. */
  ended: Promise<void>;
}
