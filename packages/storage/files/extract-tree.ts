/**
 * Puts archive entries into a directory of a container's root, whatever is there now, as `docker cp` does: what is in the
 * way is replaced, directories merge, whiteouts mean nothing.
 *
 * Every name is made in a directory opened inside the root by the kernel, so links of the container's, also ones it changes
 * meanwhile, lead nowhere else. What something is mounted on is never taken away. The thread's umask must be 0.
 */
import { BerthError } from "#errors/errors.ts";
import { ERRNO, errnoText } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  type FileStatus,
  fchmod,
  fchmodat,
  fchown,
  fchownat,
  fstatatIfExists,
  futimens,
  linkat,
  mkdirat,
  mknodat,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
  symlinkat,
  utimensat,
} from "#kernel/file-syscalls.ts";
import { removeTreeAt } from "#kernel/remove-tree.ts";
import type { RootDirectory } from "#kernel/root-directory.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY, openat } from "#kernel/syscalls.ts";
import { xattrPath } from "#kernel/xattr-syscalls.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import type { TarHandler } from "#storage/tar/tar-reader.ts";
import { applyXattrs } from "#storage/unpack/entry-attributes.ts";
import { entryPath } from "#storage/unpack/entry-path.ts";
import { type IdMap, mapId, rootOf } from "#storage/unpack/id-map.ts";
import { IncomingFile } from "#storage/unpack/incoming-file.ts";
import { OpenDirectories, type OpenDirectory } from "#storage/unpack/open-directories.ts";

export interface ExtractOptions {
  /** Refuse to put a file in the place of a directory, or the other way round. */
  keepKinds: boolean;
  /** Who everything belongs to; undefined: whom the archive says; "caller": who makes it, whatever the archive says. */
  owner: { uid: number; gid: number } | "caller" | undefined;
  /** Whose the files are on the host; without it, owners are as they are said to be. */
  idMap?: IdMap;
}

export class ExtractTree implements TarHandler, Disposable {
  readonly #root: RootDirectory;
  /** Without slashes at its ends; "" for the root. */
  readonly #base: string;
  readonly #options: ExtractOptions;
  readonly #directories: OpenDirectories;
  /** Times of directories: set last, since making entries changes them. */
  readonly #times = new Map<string, TarEntry>();
  #file: IncomingFile | undefined;
  #current = "";

  /** `directory`: absolute inside the root, free of links. */
  constructor(root: RootDirectory, directory: string, options: ExtractOptions) {
    this.#root = root;
    this.#base = directory.replace(/^\/+|\/+$/g, "");
    this.#options = options;
    this.#directories = new OpenDirectories(
      root,
      () => options.idMap && { mode: 0o755, ...rootOf(options.idMap) },
    );
  }

  [Symbol.dispose](): void {
    this.#file?.[Symbol.dispose]();
    this.#file = undefined;
    this.#directories[Symbol.dispose]();
  }

  entry(entry: TarEntry): void {
    this.#current = entry.name;
    this.#explained(() => {
      const inside = entryPath(entry.name);
      // "./" describes the directory that everything goes into, which stays as it is.
      if (inside === "") return;
      this.#place(entry, this.#inRoot(inside));
    });
  }

  data(chunk: Buffer, offset: number): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#explained(() => file.write(chunk, offset));
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    this.#explained(() => file.finish((fd) => this.#applyToOpen(fd, file.entry)));
  }

  /** Sets the times of directories; after the last entry. */
  finish(): void {
    for (const [path, { accessedAt, modifiedAt, name }] of this.#times) {
      this.#current = name;
      this.#explained(() => {
        using directory = this.#root.openIfExists(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (directory !== undefined) futimens(directory.number, accessedAt ?? modifiedAt, modifiedAt);
      });
    }
  }

  #inRoot(path: string): string {
    return this.#base === "" ? path : `${this.#base}/${path}`;
  }

  #place(entry: TarEntry, path: string): void {
    const slash = path.lastIndexOf("/");
    const parentPath = slash < 0 ? "" : path.slice(0, slash);
    const name = path.slice(slash + 1);
    const parent = this.#directories.get(parentPath);
    const existing = fstatatIfExists(parent.fd, name);
    if (existing !== undefined) {
      this.#checkKinds(entry, existing, path);
      if (entry.type === "directory" && isDirectory(existing)) {
        this.#applyToDirectory(parent, path, name, entry);
        return;
      }
      removeTreeAt(parent.fd, name);
      // Directories that are open may have been in it, or behind it.
      this.#directories.forget();
    }
    this.#make(entry, this.#directories.get(parentPath), path, name);
  }

  #make(entry: TarEntry, parent: OpenDirectory, path: string, name: string): void {
    switch (entry.type) {
      case "file": {
        const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
        this.#file = new IncomingFile(openat(parent.fd, name, flags, entry.mode & 0o777), entry);
        return;
      }
      case "directory":
        mkdirat(parent.fd, name, entry.mode & 0o777);
        this.#applyToDirectory(parent, path, name, entry);
        return;
      case "hardlink":
        this.#link(parent, name, entry);
        return;
      case "symlink":
        symlinkat(entry.linkName, parent.fd, name);
        break;
      default: {
        const kind = { "character-device": S_IFCHR, "block-device": S_IFBLK, fifo: S_IFIFO }[entry.type];
        const { major, minor } = entry.type === "fifo" ? { major: 0, minor: 0 } : entry;
        mknodat(parent.fd, name, kind | (entry.mode & 0o777), major, minor);
      }
    }
    const owner = this.#ownerOf(entry);
    if (owner !== undefined) {
      fchownat(parent.fd, name, owner.uid, owner.gid);
      applyXattrs(xattrPath(parent.fd, name), entry);
    }
    if (entry.type !== "symlink") fchmodat(parent.fd, name, entry.mode & 0o7777);
    utimensat(parent.fd, name, entry.accessedAt ?? entry.modifiedAt, entry.modifiedAt);
  }

  /** A second name for something this archive, or somebody before it, put below the same directory. */
  #link(parent: OpenDirectory, name: string, entry: TarEntry): void {
    const { directory, name: target } = this.#root.openParent(this.#inRoot(entryPath(entry.linkName)));
    using from = directory;
    linkat(from.number, target, parent.fd, name);
  }

  #applyToDirectory(parent: OpenDirectory, path: string, name: string, entry: TarEntry): void {
    using handle = new FileDescriptor(openat(parent.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    this.#applyToOpen(handle.number, entry);
    this.#times.set(path, entry);
  }

  /** In this order: a change of owner takes capabilities and set-id bits away. */
  #applyToOpen(fd: number, entry: TarEntry): void {
    const owner = this.#ownerOf(entry);
    if (owner !== undefined) {
      fchown(fd, owner.uid, owner.gid);
      applyXattrs(fd, entry);
    }
    fchmod(fd, entry.mode & 0o7777);
  }

  /** Undefined: its maker's, who may not be allowed to give it away, or attributes that others rely on. */
  #ownerOf(entry: TarEntry): { uid: number; gid: number } | undefined {
    const { owner, idMap } = this.#options;
    if (owner === "caller") return undefined;
    const { uid, gid } = owner ?? entry;
    return idMap === undefined ? { uid, gid } : { uid: mapId(idMap.uids, uid), gid: mapId(idMap.gids, gid) };
  }

  #checkKinds(entry: TarEntry, existing: FileStatus, path: string): void {
    if (!this.#options.keepKinds) return;
    const [to, from] = [isDirectory(existing), entry.type === "directory"];
    if (to === from) return;
    const words = to
      ? `cannot overwrite directory "/${path}" with non-directory "/${this.#base}"`
      : `cannot overwrite non-directory "/${path}" with directory "/${this.#base}"`;
    throw new BerthError("invalid", words, { operation: "extract archive", object: entry.name });
  }

  /** Runs a step; failures of system calls become errors about the entry. */
  #explained(step: () => void): void {
    try {
      step();
    } catch (error) {
      throw error instanceof SyscallError ? explain(error, this.#current) : error;
    }
  }
}

function isDirectory(status: FileStatus): boolean {
  return (status.mode & S_IFMT) === S_IFDIR;
}

/** What a failed system call means to who sent the archive. */
function explain(cause: SyscallError, entry: string): BerthError {
  const detail = { operation: "extract archive", object: entry, cause };
  const message = `Error processing tar file: ${entry}: ${errnoText(cause.errno)}`;
  if (cause.errno === ERRNO.ENOSPC || cause.errno === ERRNO.EDQUOT) {
    return new BerthError("no-space", message, detail);
  }
  if (cause.errno === ERRNO.EROFS) return new BerthError("forbidden", message, detail);
  // Something is mounted there; also as the kernel says it to who must not leave a file system.
  if (cause.errno === ERRNO.EBUSY || cause.errno === ERRNO.EXDEV) {
    return new BerthError("conflict", `Error processing tar file: ${entry}: ${errnoText(ERRNO.EBUSY)}`, {
      ...detail,
      hint: "A volume or bind mount is there; copy into it, or give another name.",
    });
  }
  return new BerthError(archiveFaults.includes(cause.errno) ? "invalid" : "internal", message, detail);
}

/** Failures that the archive's own names bring about; the rest is the host's. */
const archiveFaults: readonly number[] = [
  ERRNO.ENAMETOOLONG,
  ERRNO.ENOTDIR,
  ERRNO.ELOOP,
  ERRNO.EINVAL,
  ERRNO.ENOENT,
];
