/**
 * Writes archive entries into a layer directory.
 *
 * Every name is made in a directory opened inside the root by the kernel (RootDirectory), so whatever an archive says
 * stays below it. What the kernel answers is turned into errors that name the entry. The thread's umask must be 0.
 */
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  fchmod,
  fchmodat,
  fchown,
  fchownat,
  fstatat,
  fstatatIfExists,
  futimens,
  linkat,
  listDirectory,
  mkdirat,
  mknodat,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  symlinkat,
  utimensat,
} from "#kernel/file-syscalls.ts";
import { pathBytes } from "#kernel/path-bytes.ts";
import { removeTreeAt } from "#kernel/remove-tree.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import {
  close,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  openat,
  tryOpenat,
} from "#kernel/syscalls.ts";
import { treeSize } from "#kernel/tree-size.ts";
import { setXattr, xattrPath } from "#kernel/xattr-syscalls.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import type { TarHandler } from "#storage/tar/tar-reader.ts";
import { applyXattrs, mustChown, opaqueAttribute, opaqueValue } from "#storage/unpack/entry-attributes.ts";
import { entryPath, meaningOf } from "#storage/unpack/entry-path.ts";
import { type IdMap, mapId } from "#storage/unpack/id-map.ts";
import { IncomingFile } from "#storage/unpack/incoming-file.ts";
import {
  type DirectoryAttributes,
  OpenDirectories,
  type OpenDirectory,
} from "#storage/unpack/open-directories.ts";
import { explain, invalid } from "#storage/unpack/unpack-errors.ts";

export interface LayerTreeOptions {
  /** How whiteouts are written: for overlay, or by removing what they hide. */
  whiteouts: "overlay" | "apply";
  /** Attributes of a directory in the layers below, for directories the archive implies without describing them. */
  lowerDirectory?: (path: string) => DirectoryAttributes | undefined;
  /** Told of each directory that the archive describes. */
  describes?: (path: string) => void;
  /** Whose the files are on the host. */
  idMap?: IdMap;
  /** Takes away what a later entry replaces, to keep its content; without it, that is deleted. */
  keep?: (parent: number, name: string, path: string) => void;
}

/** A file whose content is arriving. */
interface OpenFile {
  incoming: IncomingFile;
  parent: OpenDirectory;
  /** Where it is in the layer, without links. */
  path: string;
}

export class LayerTree implements TarHandler, Disposable {
  /** Bytes of the layer's files and symbolic links, each once; right after `finish`. */
  size = 0;
  /** Has the archive an entry for the root itself? */
  describesRoot = false;
  readonly #target: string;
  /** Something that was counted is gone again. */
  #replaced = false;
  readonly #root: RootDirectory;
  readonly #directories: OpenDirectories;
  readonly #overlay: boolean;
  readonly #keep: LayerTreeOptions["keep"];
  readonly #describes: LayerTreeOptions["describes"];
  readonly #idMap: IdMap | undefined;
  /** Times of directories: set last, since making entries changes them. */
  readonly #directoryTimes = new Map<string, { accessedAt: bigint; modifiedAt: bigint }>();
  /** Overlay: whiteouts made for names of lower layers. Here and below, paths are those without links. */
  readonly #whiteouts = new Set<string>();
  /** Apply: what this layer itself brought, which its opaque marks do not hide. */
  readonly #made = new Set<string>();
  #file: OpenFile | undefined;
  /** A directory or link was taken away: the cache is emptied before the next entry. */
  #stale = false;
  #current = "";

  constructor(target: string, options: LayerTreeOptions) {
    this.#target = target;
    this.#root = new RootDirectory(target);
    this.#idMap = options.idMap;
    const owner = { uid: 0, gid: 0 };
    this.#giveToHost(owner);
    this.#directories = new OpenDirectories(
      this.#root,
      (path) => options.lowerDirectory?.(path) ?? { mode: 0o755, ...owner },
    );
    this.#overlay = options.whiteouts === "overlay";
    this.#keep = options.keep;
    this.#describes = options.describes;
  }

  [Symbol.dispose](): void {
    this.#file?.incoming[Symbol.dispose]();
    this.#file = undefined;
    this.#directories[Symbol.dispose]();
    this.#root[Symbol.dispose]();
  }

  entry(entry: TarEntry): void {
    this.#current = entry.name;
    this.#explained(() => {
      if (this.#stale) this.#directories.forget();
      this.#stale = false;
      this.#giveToHost(entry);
      this.#place(entry);
    });
  }

  /** Owners as the host has them. */
  #giveToHost(entry: { uid: number; gid: number }): void {
    if (this.#idMap === undefined) return;
    entry.uid = mapId(this.#idMap.uids, entry.uid);
    entry.gid = mapId(this.#idMap.gids, entry.gid);
  }

  data(chunk: Buffer, offset: number): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#explained(() => file.incoming.write(chunk, offset));
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    const { incoming, parent } = file;
    this.#explained(() => incoming.finish((fd) => applyToFile(fd, incoming.entry, parent)));
    this.size += incoming.entry.size;
  }

  /** Where the content of the current entry goes; undefined if it goes nowhere. Links are resolved. */
  get contentPath(): string | undefined {
    return this.#file?.path;
  }

  /** Sets the times of directories; after the last entry. */
  finish(): void {
    if (this.#replaced && this.#overlay) this.size = treeSize(this.#target);
    for (const [path, { accessedAt, modifiedAt }] of this.#directoryTimes) {
      this.#current = path;
      this.#explained(() => {
        using directory = this.#root.openIfExists(path, O_RDONLY | O_DIRECTORY);
        if (directory !== undefined) futimens(directory.number, accessedAt, modifiedAt);
      });
    }
  }

  #place(entry: TarEntry): void {
    const path = entryPath(entry.name);
    if (path === "") {
      this.#placeRoot(entry);
      return;
    }
    const slash = path.lastIndexOf("/");
    const parentPath = slash < 0 ? "" : path.slice(0, slash);
    const name = path.slice(slash + 1);
    const meaning = meaningOf(name);
    switch (meaning.kind) {
      case "marker":
        return;
      case "opaque":
        this.#hideAll(parentPath);
        return;
      case "whiteout":
        this.#hide(parentPath, meaning.hidden, entry);
        return;
      case "entry":
        this.#make(entry, path, this.#directories.get(parentPath), name);
    }
  }

  /** "./" describes the root itself. */
  #placeRoot(entry: TarEntry): void {
    if (entry.type !== "directory") throw invalid(entry.name, "is the root and no directory");
    this.describesRoot = true;
    const root = this.#directories.get("");
    fchown(root.fd, entry.uid, entry.gid);
    applyXattrs(root.fd, entry);
    fchmod(root.fd, entry.mode);
    this.#rememberTimes("", entry);
    this.#directories.forget();
  }

  /** `asked`: the path as the archive has it. */
  #make(entry: TarEntry, asked: string, parent: OpenDirectory, name: string): void {
    const path = below(parent.path, name);
    this.#makeKind(entry, asked, parent, path, name);
    if (!this.#overlay) this.#rememberMade(path);
  }

  #makeKind(entry: TarEntry, asked: string, parent: OpenDirectory, path: string, name: string): void {
    switch (entry.type) {
      case "file":
        this.#file = {
          incoming: new IncomingFile(this.#createFile(parent, path, name, entry), entry),
          parent,
          path,
        };
        return;
      case "directory":
        this.#makeDirectory(parent, path, name, entry);
        this.#describes?.(path);
        this.#rememberTimes(asked, entry);
        return;
      case "hardlink":
        this.#makeHardLink(parent, path, name, entry);
        return;
      case "symlink":
        this.#making(parent, path, name, () => symlinkat(entry.linkName, parent.fd, name));
        this.size += pathBytes(entry.linkName).length;
        break;
      default: {
        const kind = { "character-device": S_IFCHR, "block-device": S_IFBLK, fifo: S_IFIFO }[entry.type];
        const { major, minor } = entry.type === "fifo" ? { major: 0, minor: 0 } : entry;
        this.#making(parent, path, name, () => {
          mknodat(parent.fd, name, kind | (entry.mode & 0o777), major, minor);
        });
      }
    }
    if (mustChown(entry, parent)) fchownat(parent.fd, name, entry.uid, entry.gid);
    applyXattrs(xattrPath(parent.fd, name), entry);
    if (entry.type !== "symlink" && (entry.mode & 0o7000) !== 0) fchmodat(parent.fd, name, entry.mode);
    utimensat(parent.fd, name, entry.accessedAt ?? entry.modifiedAt, entry.modifiedAt);
  }

  #createFile(parent: OpenDirectory, path: string, name: string, entry: TarEntry): number {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    let fd = tryOpenat(parent.fd, name, flags, entry.mode & 0o777);
    if (fd === -ERRNO.EEXIST) {
      this.#clear(parent, path, name);
      fd = tryOpenat(parent.fd, name, flags, entry.mode & 0o777);
    }
    if (fd < 0) throw new SyscallError("openat", -fd, [name]);
    return fd;
  }

  #makeDirectory(parent: OpenDirectory, path: string, name: string, entry: TarEntry): void {
    let fd = -1;
    try {
      mkdirat(parent.fd, name, entry.mode & 0o777);
    } catch (error) {
      if (!(error instanceof SyscallError) || error.errno !== ERRNO.EEXIST) throw error;
      const existing = fstatat(parent.fd, name);
      if ((existing.mode & S_IFMT) !== S_IFDIR) {
        const hidesLower = this.#whiteouts.has(path);
        this.#clear(parent, path, name);
        mkdirat(parent.fd, name, entry.mode & 0o777);
        // What the whiteout hid must not shine through the new directory.
        if (hidesLower) setXattr(xattrPath(parent.fd, name), opaqueAttribute, opaqueValue);
      }
    }
    fd = tryOpenat(parent.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0) throw new SyscallError("openat", -fd, [name]);
    try {
      fchown(fd, entry.uid, entry.gid);
      applyXattrs(fd, entry);
      fchmod(fd, entry.mode);
    } finally {
      close(fd);
    }
    // Its set-group-id bit may have changed.
    if ((entry.mode & 0o2000) !== 0) this.#directories.forget();
  }

  #makeHardLink(parent: OpenDirectory, path: string, name: string, entry: TarEntry): void {
    const target = entryPath(entry.linkName);
    if (target === "") throw invalid(entry.name, "is a hard link to the root");
    const slash = target.lastIndexOf("/");
    const targetName = target.slice(slash + 1);
    using directory = this.#root.openIfExists(
      slash < 0 ? "" : target.slice(0, slash),
      O_RDONLY | O_DIRECTORY,
    );
    const status = directory && fstatatIfExists(directory.number, targetName);
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
      this.#clear(parent, path, name);
    }
    linkat(directory.number, targetName, parent.fd, name);
  }

  #rememberTimes(path: string, entry: TarEntry): void {
    this.#directoryTimes.set(path, {
      accessedAt: entry.accessedAt ?? entry.modifiedAt,
      modifiedAt: entry.modifiedAt,
    });
  }

  /** Runs what makes a name; if it is taken, frees it and runs again. */
  #making(parent: OpenDirectory, path: string, name: string, make: () => void): void {
    try {
      make();
    } catch (error) {
      if (!(error instanceof SyscallError) || error.errno !== ERRNO.EEXIST) throw error;
      this.#clear(parent, path, name);
      make();
    }
  }

  /** Removes an entry that a later one of the same name replaces. */
  #clear(parent: OpenDirectory, path: string, name: string): void {
    this.#replaced = true;
    const status = fstatatIfExists(parent.fd, name);
    const kind = (status?.mode ?? 0) & S_IFMT;
    const hasContent = kind === S_IFDIR || (kind === S_IFREG && status?.size !== 0);
    // What lower layers brought is no content of this archive.
    const own = this.#overlay || this.#made.has(path);
    if (hasContent && own && this.#keep !== undefined) this.#keep(parent.fd, name, path);
    else removeTreeAt(parent.fd, name);
    this.#whiteouts.delete(path);
    // Cached paths may lead through it. This entry still needs the descriptors, so they are not closed at once.
    if (kind === S_IFDIR || kind === S_IFLNK) this.#stale = true;
  }

  #hide(parentPath: string, hidden: string, entry: TarEntry): void {
    if (!this.#overlay) {
      const parent = this.#directories.getIfExists(parentPath);
      if (parent === undefined || this.#made.has(below(parent.path, hidden))) return;
      this.#clear(parent, below(parent.path, hidden), hidden);
      return;
    }
    const parent = this.#directories.get(parentPath);
    const existing = fstatatIfExists(parent.fd, hidden);
    if (existing === undefined) {
      mknodat(parent.fd, hidden, S_IFCHR, 0, 0);
      if (mustChown(entry, parent)) fchownat(parent.fd, hidden, entry.uid, entry.gid);
      utimensat(parent.fd, hidden, entry.modifiedAt, entry.modifiedAt);
      this.#whiteouts.add(below(parent.path, hidden));
    } else if ((existing.mode & S_IFMT) === S_IFDIR) {
      // This layer brings a directory of that name: only the lower one is hidden.
      setXattr(xattrPath(parent.fd, hidden), opaqueAttribute, opaqueValue);
    }
  }

  /** The directory hides everything that lower layers have in it. */
  #hideAll(path: string): void {
    if (this.#overlay) {
      setXattr(this.#directories.get(path).fd, opaqueAttribute, opaqueValue);
      return;
    }
    const directory = this.#directories.getIfExists(path);
    if (directory !== undefined) this.#removeLower(directory.path, directory.fd);
    this.#directories.forget();
  }

  /** Removes what this layer did not bring; directories of both are searched. */
  #removeLower(path: string, fd: number): void {
    for (const name of listDirectory(fd)) {
      const child = below(path, name);
      if (!this.#made.has(child)) {
        removeTreeAt(fd, name);
      } else if (((fstatatIfExists(fd, name)?.mode ?? 0) & S_IFMT) === S_IFDIR) {
        using directory = new FileDescriptor(openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        this.#removeLower(child, directory.number);
      }
    }
  }

  /** Notes a path and the directories above it. */
  #rememberMade(path: string): void {
    let end = path.length;
    while (end > 0 && !this.#made.has(path.slice(0, end))) {
      this.#made.add(path.slice(0, end));
      end = path.lastIndexOf("/", end - 1);
    }
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

function below(path: string, name: string): string {
  return path === "" ? name : `${path}/${name}`;
}

function applyToFile(fd: number, entry: TarEntry, parent: OpenDirectory): void {
  // In this order: a change of owner takes capabilities and set-id bits away.
  if (mustChown(entry, parent)) fchown(fd, entry.uid, entry.gid);
  applyXattrs(fd, entry);
  if ((entry.mode & 0o7000) !== 0) fchmod(fd, entry.mode);
}
