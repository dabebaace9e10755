/**
 * Copies a directory as it looks through a stack of overlay layers, without mounting anything: upper layers hide lower
 * ones, a 0/0 character device hides a name (whiteout), an opaque directory hides what is below it.
 *
 * Runs in a worker. Every path is resolved inside its layer's root by the kernel.
 */
import { copyFileSync } from "node:fs";
import { posix } from "node:path";
import { type FileStatus, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "#kernel/file-syscalls.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } from "#kernel/syscalls.ts";

/** Set on directories whose lower namesakes are hidden (kernel Documentation/filesystems/overlayfs.rst). */
const OPAQUE = "trusted.overlay.opaque";
/** Attributes of overlayfs itself are not content. */
const OVERLAY_ATTRIBUTES = "trusted.overlay.";

/** `layers`: uppermost first. Copies what is in `path` into the existing directory `target`; nothing if it is no directory. */
export function copyMerged(layers: readonly string[], path: string, target: string): void {
  const roots = layers.map((layer) => new RootDirectory(layer));
  using destination = new RootDirectory(target);
  try {
    const sources = visibleDirectories(roots, path);
    const [top] = sources;
    if (top === undefined) return;
    new MergedCopy(destination).directory(sources, path, ".");
    applyAttributes(top, path, destination, ".");
  } finally {
    for (const root of roots) root[Symbol.dispose]();
  }
}

/** The layers in which `path` is a directory that can be seen, uppermost first. */
function visibleDirectories(roots: readonly RootDirectory[], path: string): RootDirectory[] {
  let visible = [...roots];
  let at = "";
  for (const part of path.split("/").filter(Boolean)) {
    at = `${at}/${part}`;
    visible = narrow(visible, at);
  }
  return visible;
}

/** Of layers that all have the parent directory, those whose `path` takes part in the merged directory. */
function narrow(layers: readonly RootDirectory[], path: string): RootDirectory[] {
  const kept: RootDirectory[] = [];
  for (const layer of layers) {
    const status = layer.lstat(path);
    if (status === undefined) continue;
    if ((status.mode & S_IFMT) !== S_IFDIR) break;
    kept.push(layer);
    if (layer.getXattr(path, OPAQUE)?.toString() === "y") break;
  }
  return kept;
}

class MergedCopy {
  readonly #target: RootDirectory;
  /** Where an inode with several names was first copied to. */
  readonly #copied = new Map<string, string>();

  constructor(target: RootDirectory) {
    this.#target = target;
  }

  directory(layers: readonly RootDirectory[], from: string, to: string): void {
    const seen = new Set<string>();
    for (const [depth, layer] of layers.entries()) {
      for (const name of layer.list(from)) {
        if (seen.has(name)) continue;
        seen.add(name);
        this.#entry(layers.slice(depth), posix.join(from, name), posix.join(to, name));
      }
    }
  }

  /** `layers[0]` is the uppermost that has the name. */
  #entry(layers: readonly RootDirectory[], from: string, to: string): void {
    const [layer] = layers;
    const status = layer?.lstat(from);
    if (layer === undefined || status === undefined || isWhiteout(status)) return;
    switch (status.mode & S_IFMT) {
      case S_IFDIR:
        this.#target.mkdir(to, 0o700);
        this.directory(narrow(layers, from), from, to);
        break;
      case S_IFREG:
        if (this.#linkToCopy(status, to)) return;
        this.#file(layer, from, to);
        break;
      case S_IFLNK:
        this.#target.symlink(layer.readLink(from), to);
        break;
      default:
        this.#target.mknod(to, status.mode, status.special.major, status.special.minor);
    }
    applyAttributes(layer, from, this.#target, to);
  }

  #linkToCopy(status: FileStatus, to: string): boolean {
    if (status.links < 2) return false;
    const key = `${status.device.major}:${status.device.minor}:${status.inode}`;
    const first = this.#copied.get(key);
    if (first === undefined) {
      this.#copied.set(key, to);
      return false;
    }
    this.#target.link(first, to);
    return true;
  }

  #file(layer: RootDirectory, from: string, to: string): void {
    using source = layer.open(from, O_RDONLY | O_NOFOLLOW);
    using copy = this.#target.open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    copyFileSync(source.procPath, copy.procPath);
  }
}

function isWhiteout(status: FileStatus): boolean {
  return (status.mode & S_IFMT) === S_IFCHR && status.special.major === 0 && status.special.minor === 0;
}

/** Owner first: changing it clears set-id bits and file capabilities. Times last: everything else changes them. */
function applyAttributes(layer: RootDirectory, from: string, target: RootDirectory, to: string): void {
  const status = layer.lstat(from);
  if (status === undefined) return;
  target.chown(to, status.uid, status.gid);
  if ((status.mode & S_IFMT) !== S_IFLNK) target.chmod(to, status.mode & 0o7777);
  for (const name of layer.listXattr(from)) {
    const value = name.startsWith(OVERLAY_ATTRIBUTES) ? undefined : layer.getXattr(from, name);
    if (value !== undefined) target.setXattr(to, name, value);
  }
  target.utimes(to, status.accessedAt, status.modifiedAt);
}
