/**
 * Copies a directory as it looks through a stack of layers, without mounting anything: upper layers hide lower ones, a
 * whiteout hides a name, an opaque directory hides what is below it (`#storage/layer-marks.ts`).
 *
 * Runs in a worker. Every path is resolved inside its layer's root by the kernel.
 */
import { copyFileSync } from "node:fs";
import { posix } from "node:path";
import { type FileStatus, fstat, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "#kernel/file-syscalls.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_WRONLY } from "#kernel/syscalls.ts";
import type { LayerView, Whiteouts } from "#storage/driver-types.ts";
import { hidesAbsent, isOpaque, nameInLayer } from "#storage/layer-marks.ts";

/** Attributes of overlayfs itself are not content. */
const OVERLAY_ATTRIBUTES = "trusted.overlay.";

/** Copies what is in `path` into the existing directory `target`; nothing if it is no directory. */
export function copyMerged(
  { directories: layers, whiteouts }: LayerView,
  path: string,
  target: string,
): void {
  const roots = layers.map((layer) => new RootDirectory(layer));
  using destination = new RootDirectory(target);
  try {
    const sources = visibleDirectories(roots, path, whiteouts);
    const [top] = sources;
    if (top === undefined) return;
    new MergedCopy(destination, whiteouts).directory(sources, path, ".");
    applyAttributes(top, path, destination, ".");
  } finally {
    for (const root of roots) root[Symbol.dispose]();
  }
}

/** The layers in which `path` is a directory that can be seen, uppermost first. */
function visibleDirectories(
  roots: readonly RootDirectory[],
  path: string,
  whiteouts: Whiteouts,
): RootDirectory[] {
  let visible = [...roots];
  let at = "";
  for (const part of path.split("/").filter(Boolean)) {
    at = `${at}/${part}`;
    visible = narrow(visible, at, whiteouts);
  }
  return visible;
}

/** Of layers that all have the parent directory, those whose `path` takes part in the merged directory. */
function narrow(layers: readonly RootDirectory[], path: string, whiteouts: Whiteouts): RootDirectory[] {
  const kept: RootDirectory[] = [];
  const name = posix.basename(path);
  for (const layer of layers) {
    using directory = layer.openIfExists(path, O_PATH | O_NOFOLLOW);
    if (directory !== undefined) {
      if ((fstat(directory.number).mode & S_IFMT) !== S_IFDIR) break;
      kept.push(layer);
      if (isOpaque(whiteouts, directory)) break;
    }
    using parent = layer.openIfExists(posix.dirname(path), O_PATH | O_DIRECTORY);
    if (parent !== undefined && hidesAbsent(whiteouts, parent, name)) break;
  }
  return kept;
}

class MergedCopy {
  readonly #target: RootDirectory;
  readonly #whiteouts: Whiteouts;
  /** Where an inode with several names was first copied to. */
  readonly #copied = new Map<string, string>();

  constructor(target: RootDirectory, whiteouts: Whiteouts) {
    this.#target = target;
    this.#whiteouts = whiteouts;
  }

  directory(layers: readonly RootDirectory[], from: string, to: string): void {
    const seen = new Set<string>();
    for (const [depth, layer] of layers.entries()) {
      const hidden: string[] = [];
      for (const name of layer.list(from)) {
        if (seen.has(name)) continue;
        const path = posix.join(from, name);
        const status = layer.lstat(path);
        if (status === undefined) continue;
        const meaning = nameInLayer(this.#whiteouts, name, status);
        if (meaning.kind === "hides") hidden.push(meaning.name);
        if (meaning.kind !== "entry") continue;
        seen.add(name);
        this.#entry(layers.slice(depth), path, status, posix.join(to, name));
      }
      for (const name of hidden) seen.add(name);
    }
  }

  /** `layers[0]` is the uppermost that has the name. */
  #entry(layers: readonly RootDirectory[], from: string, status: FileStatus, to: string): void {
    const [layer] = layers;
    if (layer === undefined) return;
    switch (status.mode & S_IFMT) {
      case S_IFDIR:
        this.#target.mkdir(to, 0o700);
        this.directory(narrow(layers, from, this.#whiteouts), from, to);
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
