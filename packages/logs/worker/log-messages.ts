/** What travels between the daemon and its log worker. */
import type { LogLocation, LogReadOptions } from "#logs/log-types.ts";
import type { ShipTask } from "#logs/ship-types.ts";

/** Jobs have numbers; everything said about one has its number. */
export type ToLogWorker =
  | { kind: "compress"; job: number; log: LogLocation }
  | { kind: "ship"; job: number; task: ShipTask }
  | { kind: "read"; job: number; log: LogLocation; options: LogReadOptions }
  /** Of a reader: the next piece is wanted. */
  | { kind: "more"; job: number }
  /** Nothing more will be written to the log. */
  | { kind: "ended"; job: number }
  | { kind: "stop"; job: number };

export type FromLogWorker =
  | { kind: "piece"; job: number; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "warning"; job: number; text: string }
  | { kind: "done"; job: number; error: string | undefined };
