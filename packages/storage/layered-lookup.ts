/**
 * Looks into the merged view of layers without mounting it: whiteouts, opaque directories and symbolic links are
 * understood as overlayfs would, or AUFS (layer-marks.ts).
 *
 * Reads only. Used to resolve users and groups before a start, and for what else needs one small file. Each name is
 * opened by itself, without following links, so nothing in a layer can lead outside.
 */
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  type FileStatus,
  fstat,
  fstatatIfExists,
  listDirectory,
  readlinkat,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
} from "#kernel/file-syscalls.ts";
import { readRegularFile } from "#kernel/root-directory.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY, open, openat, tryOpenat } from "#kernel/syscalls.ts";
import type { LayerView, Whiteouts } from "#storage/driver-types.ts";
import { hidesAbsent, isOpaque, isReserved, nameInLayer } from "#storage/layer-marks.ts";

/** As many symbolic links as the kernel follows in one path. */
const maxLinks = 40;

/** Directories walked through at most: each is held open, once per layer that has it. */
const maxDepth = 64;

export interface LookupOptions {
  /** Follow a symbolic link at the end of the path. Default: yes. */
  follow?: boolean;
}

export class LayerStack implements Disposable {
  /** Roots of the layers, uppermost first (O_PATH). */
  readonly #layers: FileDescriptor[] = [];
  readonly #whiteouts: Whiteouts;

  /**
   * `directories` are the layers' directories, absolute, uppermost first (`StorageDriver.layerDirectories`); `whiteouts` how
   * they mark what they hide.
   */
  constructor(directories: readonly string[], whiteouts: Whiteouts) {
    this.#whiteouts = whiteouts;
    try {
      for (const path of directories) this.#layers.push(new FileDescriptor(open(path, O_PATH | O_DIRECTORY)));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const layer of this.#layers) layer.close();
    this.#layers.length = 0;
  }

  /** Status of a path; undefined if nothing is there. */
  stat(path: string, options: LookupOptions = {}): FileStatus | undefined {
    using found = this.#find(path, options.follow !== false);
    return found?.status;
  }

  /** Content of a regular file of at most `maxBytes` (EFBIG beyond); undefined if nothing is there. */
  readFile(path: string, maxBytes: number): Buffer | undefined {
    using found = this.#find(path, true);
    const handle = found?.handles[0];
    return handle && readRegularFile(handle, path, maxBytes);
  }

  /** Target of a symbolic link; undefined if there is none. */
  readLink(path: string): string | undefined {
    using found = this.#find(path, false);
    const handle = found?.handles[0];
    if (handle === undefined || !isType(found?.status, S_IFLNK)) return undefined;
    return readlinkat(handle.number, "");
  }

  #find(path: string, follow: boolean): Found | undefined {
    let names = path.split("/").reverse();
    let links = 0;
    /** The directories walked through, for "..". */
    const trail: Found[] = [this.root()];
    try {
      while (names.length > 0) {
        const name = names.pop() as string;
        const here = trail.at(-1) as Found;
        if (name === "" || name === ".") continue;
        if (name === "..") {
          if (trail.length > 1) trail.pop()?.[Symbol.dispose]();
          continue;
        }
        if (!isType(here.status, S_IFDIR)) return undefined;
        const next = lookUp(here, name);
        if (next === undefined) return undefined;
        const last = names.every((rest) => rest === "");
        if (isType(next.status, S_IFLNK) && (follow || !last)) {
          using link = next;
          links += 1;
          if (links > maxLinks) throw new SyscallError("lookup", ERRNO.ELOOP, [path]);
          const target = readlinkat((link.handles[0] as FileDescriptor).number, "");
          names = names.concat(target.split("/").reverse());
          if (target.startsWith("/")) for (const above of trail.splice(1)) above[Symbol.dispose]();
          continue;
        }
        trail.push(next);
        if (trail.length > maxDepth) throw new SyscallError("lookup", ERRNO.ENAMETOOLONG, [path]);
      }
      // A file in the middle is no directory to go on from, but one with a final slash is none either.
      const found = trail.pop() as Found;
      if (path.endsWith("/") && !isType(found.status, S_IFDIR)) {
        found[Symbol.dispose]();
        return undefined;
      }
      return found;
    } finally {
      for (const above of trail) above[Symbol.dispose]();
    }
  }

  /** The root of the merged view; the caller disposes it. */
  root(): Found {
    const handles = this.#layers.map(
      (layer) => new FileDescriptor(openat(layer.number, ".", O_PATH | O_DIRECTORY)),
    );
    const first = handles[0];
    return new Found(handles, first && fstat(first.number), this.#whiteouts);
  }
}

/** One name of the merged view: for a directory its parts in several layers, uppermost first; else one file. */
export class Found implements Disposable {
  readonly handles: FileDescriptor[];
  readonly status: FileStatus | undefined;
  readonly whiteouts: Whiteouts;

  constructor(handles: FileDescriptor[], status: FileStatus | undefined, whiteouts: Whiteouts) {
    this.handles = handles;
    this.status = status;
    this.whiteouts = whiteouts;
  }

  [Symbol.dispose](): void {
    for (const handle of this.handles) handle.close();
  }
}

function isType(status: FileStatus | undefined, type: number): boolean {
  return status !== undefined && (status.mode & S_IFMT) === type;
}

/** What a name in a directory of the merged view is; undefined if nothing is there. The caller disposes it. */
export function lookUp(directory: Found, name: string): Found | undefined {
  const { whiteouts } = directory;
  if (isReserved(whiteouts, name)) return undefined;
  const handles: FileDescriptor[] = [];
  let status: FileStatus | undefined;
  try {
    for (const layer of directory.handles) {
      const fd = tryOpenat(layer.number, name, O_PATH | O_NOFOLLOW);
      if (fd === -ERRNO.ENOENT) {
        if (hidesAbsent(whiteouts, layer, name)) break;
        continue;
      }
      if (fd < 0) throw new SyscallError("openat", -fd, [name]);
      const handle = new FileDescriptor(fd);
      const part = fstat(fd);
      const isDirectory = isType(part, S_IFDIR);
      // Below a directory only directories add to it; a whiteout or a file ends the view.
      const hidden = nameInLayer(whiteouts, name, part).kind === "hides";
      if (hidden || (handles.length > 0 && !isDirectory)) {
        handle.close();
        break;
      }
      handles.push(handle);
      status ??= part;
      if (!isDirectory || isOpaque(whiteouts, handle)) break;
      // The mark is from before the directory.
      if (hidesAbsent(whiteouts, layer, name)) break;
    }
  } catch (error) {
    for (const handle of handles) handle.close();
    throw error;
  }
  return handles.length === 0 ? undefined : new Found(handles, status, whiteouts);
}

/** Names of the merged directory, in no order. */
export function visibleNames(directory: Found): string[] {
  const hidden = new Set<string>();
  const names = new Set<string>();
  for (const part of directory.handles) {
    using readable = new FileDescriptor(open(part.procPath, O_RDONLY | O_DIRECTORY));
    const here = new Set<string>();
    for (const name of listDirectory(readable.number)) {
      if (names.has(name) || hidden.has(name)) continue;
      const status = fstatatIfExists(readable.number, name);
      if (status === undefined) continue;
      const meaning = nameInLayer(directory.whiteouts, name, status);
      if (meaning.kind === "entry") names.add(name);
      else if (meaning.kind === "hides") here.add(meaning.name);
    }
    for (const name of here) hidden.add(name);
  }
  return [...names];
}

/**
 * Reads one small file of the merged view; undefined if it is not there. For several files of one container make a
 * LayerStack.
 */
export function readLayeredFile(
  { directories, whiteouts }: LayerView,
  path: string,
  maxBytes: number,
): Buffer | undefined {
  using stack = new LayerStack(directories, whiteouts);
  return stack.readFile(path, maxBytes);
}
