/**
 * Which entries of a directory the layer itself brought, and how one of them is taken away again.
 *
 * The entries of other layers are there only in a layer that begins as all of the one below; in any other all are its own.
 * Paths are those in the layer, without links.
 */
import { FileDescriptor } from "#kernel/fd.ts";
import { fstatatIfExists, listDirectory, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "#kernel/file-syscalls.ts";
import { removeTreeAt } from "#kernel/remove-tree.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openat } from "#kernel/syscalls.ts";
import { joinPath } from "#storage/unpack/entry-path.ts";

/** Takes an entry away to keep its content. */
export type KeepContent = (parent: number, name: string, path: string) => void;

export class OwnEntries {
  /** Something that was counted is gone again. */
  replaced = false;
  /** A directory or link was taken away: what was found through it is so no longer. For the caller to reset. */
  stale = false;
  readonly #amongOthers: boolean;
  readonly #keep: KeepContent | undefined;
  readonly #brought = new Set<string>();

  /** `amongOthers`: the layer begins as all of the one below. Without `keep`, what is taken away is deleted. */
  constructor(amongOthers: boolean, keep: KeepContent | undefined) {
    this.#amongOthers = amongOthers;
    this.#keep = keep;
  }

  has(path: string): boolean {
    return !this.#amongOthers || this.#brought.has(path);
  }

  /** The layer brought this, and thereby the directories above it. */
  add(path: string): void {
    if (!this.#amongOthers) return;
    let end = path.length;
    while (end > 0 && !this.#brought.has(path.slice(0, end))) {
      this.#brought.add(path.slice(0, end));
      end = path.lastIndexOf("/", end - 1);
    }
  }

  /** Removes an entry, whoever brought it: a later one takes its name, or hides it. */
  clear(parent: number, name: string, path: string): void {
    this.replaced = true;
    const status = fstatatIfExists(parent, name);
    const kind = (status?.mode ?? 0) & S_IFMT;
    const hasContent = kind === S_IFDIR || (kind === S_IFREG && status?.size !== 0);
    // What lower layers brought is no content of this archive.
    if (hasContent && this.#keep !== undefined && this.has(path)) this.#keep(parent, name, path);
    else removeTreeAt(parent, name);
    // Cached paths may lead through it. The entry being made still needs the descriptors, so they are not closed at once.
    if (kind === S_IFDIR || kind === S_IFLNK) this.stale = true;
  }

  /** Removes all below a directory that the layer did not bring; directories of both are searched. */
  clearOthers(fd: number, path: string): void {
    for (const name of listDirectory(fd)) {
      const child = joinPath(path, name);
      if (!this.has(child)) {
        removeTreeAt(fd, name);
      } else if (((fstatatIfExists(fd, name)?.mode ?? 0) & S_IFMT) === S_IFDIR) {
        using directory = new FileDescriptor(openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        this.clearOthers(directory.number, child);
      }
    }
  }
}
