/**
 * Makes the entries of a layer, each by its kind, with owner, attributes and mode.
 *
 * An entry takes its name from whatever had it; only a directory stays, and gets the new looks. Files get
 * theirs when their content is there (`incoming-file.ts`), and directories their times last of all.
 */
import { ERRNO } from "#kernel/errno.ts";
import {
  fstatat,
  fstatatIfExists,
  linkat,
  mkdirat,
  mknodat,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
  symlinkat,
} from "#kernel/file-syscalls.ts";
import type { RootDirectory } from "#kernel/root-directory.ts";
import { isErrno, SyscallError } from "#kernel/syscall-error.ts";
import {
  close,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  tryOpenat,
} from "#kernel/syscalls.ts";
import { makeOpaque } from "#storage/layer-marks.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import { dressDirectory, dressNode } from "#storage/unpack/entry-attributes.ts";
import { entryPath, joinPath, lastName, parentPath } from "#storage/unpack/entry-path.ts";
import type { HiddenNames } from "#storage/unpack/hidden-names.ts";
import type { OpenDirectories, OpenDirectory } from "#storage/unpack/open-directories.ts";
import type { OwnEntries } from "#storage/unpack/own-entries.ts";
import { invalid } from "#storage/unpack/unpack-errors.ts";

const nodeKinds = { "character-device": S_IFCHR, "block-device": S_IFBLK, fifo: S_IFIFO };

/** Where an entry goes: its name in an open directory of the layer. */
export interface EntryPlace {
  parent: OpenDirectory;
  name: string;
  /** In the layer, without links. */
  path: string;
}

export function placeIn(parent: OpenDirectory, name: string): EntryPlace {
  return { parent, name, path: joinPath(parent.path, name) };
}

export class NewEntries {
  readonly #root: RootDirectory;
  readonly #directories: OpenDirectories;
  readonly #own: OwnEntries;
  readonly #hidden: HiddenNames;

  constructor(root: RootDirectory, directories: OpenDirectories, own: OwnEntries, hidden: HiddenNames) {
    this.#root = root;
    this.#directories = directories;
    this.#own = own;
    this.#hidden = hidden;
  }

  /** Makes a file without content; answers its descriptor, open for writing. It gets its looks with its last bytes. */
  createFile({ parent, name, path }: EntryPlace, entry: TarEntry): number {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    let fd = tryOpenat(parent.fd, name, flags, entry.mode & 0o777);
    if (fd === -ERRNO.EEXIST) {
      this.#own.clear(parent.fd, name, path);
      fd = tryOpenat(parent.fd, name, flags, entry.mode & 0o777);
    }
    if (fd < 0) throw new SyscallError("openat", -fd, [name]);
    return fd;
  }

  makeDirectory({ parent, name, path }: EntryPlace, entry: TarEntry): void {
    try {
      mkdirat(parent.fd, name, entry.mode & 0o777);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
      const existing = fstatat(parent.fd, name);
      if ((existing.mode & S_IFMT) !== S_IFDIR) {
        const hidesLower = this.#hidden.isMarkInPlace(path);
        this.#own.clear(parent.fd, name, path);
        mkdirat(parent.fd, name, entry.mode & 0o777);
        // What the mark hid must not shine through the new directory.
        if (hidesLower) makeOpaque("overlay", parent.fd, name);
      }
    }
    const fd = tryOpenat(parent.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0) throw new SyscallError("openat", -fd, [name]);
    try {
      dressDirectory(fd, entry);
    } finally {
      close(fd);
    }
    // Its set-group-id bit may have changed.
    if ((entry.mode & 0o2000) !== 0) this.#directories.forget();
  }

  makeHardLink({ parent, name, path }: EntryPlace, entry: TarEntry): void {
    const target = entryPath(entry.linkName);
    if (target === "") throw invalid(entry.name, "is a hard link to the root");
    using directory = this.#hidden.isReserved(target)
      ? undefined
      : this.#root.openIfExists(parentPath(target), O_RDONLY | O_DIRECTORY);
    const status = directory && fstatatIfExists(directory.number, lastName(target));
    if (directory === undefined || status === undefined) {
      throw invalid(
        entry.name,
        `is a hard link to ${JSON.stringify(entry.linkName)}, which is not in this layer`,
      );
    }
    if ((status.mode & S_IFMT) === S_IFDIR) {
      throw invalid(entry.name, `is a hard link to the directory ${JSON.stringify(entry.linkName)}`);
    }
    const existing = fstatatIfExists(parent.fd, name);
    if (existing !== undefined) {
      // A link to itself, or one that was told twice.
      if (existing.inode === status.inode && (existing.mode & S_IFMT) !== S_IFDIR) return;
      this.#own.clear(parent.fd, name, path);
    }
    linkat(directory.number, lastName(target), parent.fd, name);
  }

  makeSymbolicLink(place: EntryPlace, entry: TarEntry): void {
    const { parent, name } = place;
    this.#taking(place, () => symlinkat(entry.linkName, parent.fd, name));
    dressNode(parent, name, entry);
  }

  /** Devices and named pipes. */
  makeNode(place: EntryPlace, entry: TarEntry, type: keyof typeof nodeKinds): void {
    const { parent, name } = place;
    const { major, minor } = type === "fifo" ? { major: 0, minor: 0 } : entry;
    const mode = nodeKinds[type] | (entry.mode & 0o777);
    this.#taking(place, () => mknodat(parent.fd, name, mode, major, minor));
    dressNode(parent, name, entry);
  }

  /** Runs what makes a name; if it is taken, frees it and runs again. */
  #taking({ parent, name, path }: EntryPlace, make: () => void): void {
    try {
      make();
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
      this.#own.clear(parent.fd, name, path);
      make();
    }
  }
}
