/**
 * The directories of a layer that were used last, open, so that neighbours in an archive cost no look-up.
 *
 * Owns its descriptors. A cached directory is right only as long as no directory or link was taken away: `forget` after that.
 */
import type { FileDescriptor } from "#kernel/fd.ts";
import { fchmod, fstat, readlinkat } from "#kernel/file-syscalls.ts";
import type { RootDirectory } from "#kernel/root-directory.ts";
import { AT_FDCWD, O_DIRECTORY, O_RDONLY } from "#kernel/syscalls.ts";

/** Descriptors kept open at most; archives walk depth first, so few are enough. */
const capacity = 64;

/** Permissions and owner of a directory that the archive needs but does not describe. */
export interface DirectoryAttributes {
  mode: number;
  uid: number;
  gid: number;
}

export interface OpenDirectory {
  fd: number;
  /** Where it really is, links in the path it was asked by resolved; "" is the root. */
  path: string;
  /** New entries inherit its group, and directories the bit itself. */
  setGroupId: boolean;
}

export class OpenDirectories implements Disposable {
  readonly #root: RootDirectory;
  readonly #attributesOf: (path: string) => DirectoryAttributes | undefined;
  readonly #open = new Map<string, OpenDirectory & { handle: FileDescriptor }>();
  #lastPath: string | undefined;
  #last: OpenDirectory | undefined;

  /** `attributesOf` tells what an implicit directory should look like (as the layer below has it); else 0755, root. */
  constructor(root: RootDirectory, attributesOf: (path: string) => DirectoryAttributes | undefined) {
    this.#root = root;
    this.#attributesOf = attributesOf;
  }

  /** The directory `path` of the layer ("" is the root), made with those above it if missing. Valid until the next call. */
  get(path: string): OpenDirectory {
    if (path === this.#lastPath && this.#last !== undefined) return this.#last;
    let directory = this.#open.get(path);
    if (directory === undefined) {
      directory = this.#find(path);
    } else {
      // The map is in order of use.
      this.#open.delete(path);
    }
    this.#open.set(path, directory);
    if (this.#open.size > capacity) {
      const [oldest, { handle }] = this.#open.entries().next().value as [string, { handle: FileDescriptor }];
      handle.close();
      this.#open.delete(oldest);
    }
    this.#lastPath = path;
    this.#last = directory;
    return directory;
  }

  #find(path: string): OpenDirectory & { handle: FileDescriptor } {
    const direct = this.#root.openWithoutLinks(path, O_RDONLY | O_DIRECTORY);
    const handle = direct ?? this.#root.openIfExists(path, O_RDONLY | O_DIRECTORY) ?? this.#make(path);
    const setGroupId = (fstat(handle.number).mode & 0o2000) !== 0;
    return {
      handle,
      fd: handle.number,
      path: direct === undefined ? this.#realPath(handle) : path,
      setGroupId,
    };
  }

  /** As the kernel tells it: below the root, whose own path it tells as well. */
  #realPath(handle: FileDescriptor): string {
    const root = readlinkat(AT_FDCWD, procPath(this.#root.descriptor));
    const path = readlinkat(AT_FDCWD, procPath(handle.number));
    return path === root ? "" : path.slice(root.length + 1);
  }

  /** The directory if it exists; nothing is made. */
  getIfExists(path: string): OpenDirectory | undefined {
    if (!this.#open.has(path)) {
      using existing = this.#root.openIfExists(path, O_RDONLY | O_DIRECTORY);
      if (existing === undefined) return undefined;
    }
    return this.get(path);
  }

  #make(path: string): FileDescriptor {
    let end = 0;
    while (end < path.length) {
      const slash = path.indexOf("/", end + 1);
      end = slash < 0 ? path.length : slash;
      const prefix = path.slice(0, end);
      using existing = this.#root.openIfExists(prefix, O_RDONLY | O_DIRECTORY);
      if (existing !== undefined) continue;
      const { mode, uid, gid } = this.#attributesOf(prefix) ?? { mode: 0o755, uid: 0, gid: 0 };
      this.#root.mkdirAll(prefix, mode & 0o777, { uid, gid }).close();
      if ((mode & 0o7000) !== 0) {
        using directory = this.#root.open(prefix, O_RDONLY | O_DIRECTORY);
        fchmod(directory.number, mode & 0o7777);
      }
    }
    return this.#root.open(path, O_RDONLY | O_DIRECTORY);
  }

  /** Closes all: something that a cached path led through may have changed. */
  forget(): void {
    for (const { handle } of this.#open.values()) handle.close();
    this.#open.clear();
    this.#last = undefined;
    this.#lastPath = undefined;
  }

  [Symbol.dispose](): void {
    this.forget();
  }
}

function procPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}
