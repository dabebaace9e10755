/**
 * What went wrong, for people and for the engines that call this program: lines of text or JSON objects, on stderr and,
 * with --log, in a file. The form is that of runc's logs, which containerd and conmon read.
 */
import { appendFileSync } from "node:fs";

export type LogFormat = "text" | "json";
export type LogLevel = "debug" | "info" | "warning" | "error";

export interface LogOptions {
  format: LogFormat;
  /** Beside stderr. */
  file: string | undefined;
  debug: boolean;
}

export class Log {
  readonly #options: LogOptions;

  constructor(options: LogOptions) {
    this.#options = options;
  }

  write(level: LogLevel, message: string): void {
    const { format, file, debug } = this.#options;
    if (level === "debug" && !debug) return;
    if (file !== undefined) appendFileSync(file, `${line(format, level, message)}\n`);
    // Errors are shown in any case; the rest only where nothing else keeps it.
    if (file === undefined || level === "error") process.stderr.write(`${line("text", level, message)}\n`);
  }
}

function line(format: LogFormat, level: LogLevel, message: string): string {
  const time = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  if (format === "json") return JSON.stringify({ level, msg: message, time });
  return `time=${JSON.stringify(time)} level=${level} msg=${JSON.stringify(message)}`;
}
