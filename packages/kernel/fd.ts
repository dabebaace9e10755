/**
 * An open file descriptor that somebody owns.
 *
 * `using fd = new FileDescriptor(...)` closes at the end of the block; `release()` passes ownership on. Using it after
 * it was closed throws, because by then the number may be another file.
 */
import { close } from "#kernel/syscalls.ts";

export class FileDescriptor implements Disposable {
  #number: number;

  constructor(number: number) {
    this.#number = number;
  }

  get number(): number {
    if (this.#number < 0) throw new Error("file descriptor used after it was closed");
    return this.#number;
  }

  get isOpen(): boolean {
    return this.#number >= 0;
  }

  /** Path by which other system calls can name the open file. */
  get procPath(): string {
    return `/proc/self/fd/${this.number}`;
  }

  /** Gives the number to the caller, who now closes it. */
  release(): number {
    const number = this.number;
    this.#number = -1;
    return number;
  }

  close(): void {
    if (this.#number < 0) return;
    const number = this.#number;
    this.#number = -1;
    close(number);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
