/** How far a log has been passed on: the file, and the offset in it. Written at every step, so it is one short write. */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

export interface Position {
  /** LogFile.identity. */
  file: string;
  offset: number;
}

/** All records are as long, so that a shorter one leaves nothing of a longer. */
const RECORD = 72;

export class PositionFile implements Disposable {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, "a+", 0o600);
    closeSync(this.#fd);
    this.#fd = openSync(path, "r+");
  }

  save({ file, offset }: Position): void {
    writeSync(this.#fd, `${file} ${offset}`.padEnd(RECORD - 1).concat("\n"), 0);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** undefined where nothing has been passed on yet, or nobody can tell. */
export function readPosition(path: string): Position | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  const match = /^(\d+\.-?\d+) (\d+) *\n$/.exec(text);
  return match === null ? undefined : { file: match[1] as string, offset: Number(match[2]) };
}
