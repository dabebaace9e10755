/**
 * A file of an archive while its content arrives: written where the archive says, and given its size, attributes and times at the end.
 *
 * Owns the descriptor it is given.
 */
import { FileDescriptor } from "#kernel/fd.ts";
import { futimens } from "#kernel/file-syscalls.ts";
import { ftruncate, lseek, SEEK_SET, writeAll } from "#kernel/syscalls.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";

export class IncomingFile implements Disposable {
  readonly entry: TarEntry;
  readonly #handle: FileDescriptor;
  /** Offset of the descriptor. */
  #position = 0;

  /** `fd`: new and empty, open for writing. */
  constructor(fd: number, entry: TarEntry) {
    this.#handle = new FileDescriptor(fd);
    this.entry = entry;
  }

  /** Of a sparse file some offsets are left out. */
  write(chunk: Buffer, offset: number): void {
    const fd = this.#handle.number;
    if (offset !== this.#position) lseek(fd, offset, SEEK_SET);
    writeAll(fd, chunk);
    this.#position = offset + chunk.length;
  }

  /** After the last bytes. `apply` sets owner, attributes and mode; its times come after those. */
  finish(apply: (fd: number) => void): void {
    using handle = this.#handle;
    const { size, accessedAt, modifiedAt } = this.entry;
    if (this.#position !== size) ftruncate(handle.number, size);
    apply(handle.number);
    futimens(handle.number, accessedAt ?? modifiedAt, modifiedAt);
  }

  [Symbol.dispose](): void {
    this.#handle.close();
  }
}
