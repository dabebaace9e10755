/** Writes log files as a shim does, in JavaScript: the same names, under the same lock. */
import { appendFileSync, existsSync, renameSync, rmSync, statSync } from "node:fs";
import { encodeLocalEntry } from "#logs/local-entry.ts";
import type { LogStream } from "#logs/log-entry.ts";
import { withDirectory } from "#logs/log-files.ts";
import type { LogLocation } from "#logs/log-types.ts";

export interface WrittenLine {
  text: string;
  stream: LogStream;
  /** Nanoseconds since the epoch. */
  time: bigint;
}

export function encodeLine(form: LogLocation["form"], { text, stream, time }: WrittenLine): Buffer {
  if (form === "local") {
    return encodeLocalEntry({ stream, time, line: Buffer.from(text), partial: undefined });
  }
  const milliseconds = new Date(Number(time / 1_000_000n)).toISOString().slice(0, 19);
  const at = `${milliseconds}.${String(time % 1_000_000_000n).padStart(9, "0")}Z`;
  return Buffer.from(`${JSON.stringify({ log: `${text}\n`, stream, time: at })}\n`);
}

export class RotatingWriter {
  readonly #log: LogLocation;
  readonly #files: number;

  /** `files`: how many there may be; 0 for any number. */
  constructor(log: LogLocation, files = 0) {
    this.#log = log;
    this.#files = files;
  }

  get path(): string {
    return `${this.#log.directory}/${this.#log.name}`;
  }

  write(line: WrittenLine): void {
    appendFileSync(this.path, encodeLine(this.#log.form, line), { mode: 0o640 });
  }

  size(): number {
    return existsSync(this.path) ? statSync(this.path).size : 0;
  }

  async rotate(): Promise<void> {
    await withDirectory(this.#log.directory, (locked) => {
      if (!locked) throw new Error("somebody has the lock for too long");
      let last = 0;
      const there = (age: number) => ["", ".gz"].filter((end) => existsSync(`${this.path}.${age}${end}`));
      while (there(last + 1).length > 0) last++;
      for (let age = last; age > 0; age--) {
        for (const end of there(age)) {
          if (this.#files > 0 && age + 1 >= this.#files) rmSync(`${this.path}.${age}${end}`);
          else renameSync(`${this.path}.${age}${end}`, `${this.path}.${age + 1}${end}`);
        }
      }
      renameSync(this.path, `${this.path}.1`);
      appendFileSync(this.path, "", { mode: 0o640 });
    });
  }
}
