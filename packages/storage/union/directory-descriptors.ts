/**
 * Descriptors of directories in the branches, kept open for the next request: the only way that names are reached.
 *
 * Each is opened from that of the directory above it by a single name and never through a symbolic link, so that nothing
 * in a branch leads out of it. Of the many that a tree has only the youngest stay open.
 */
import { quickClose, quickOpen } from "#kernel/fuse/quick-calls.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from "#kernel/syscalls.ts";
import { checked, refuse } from "#storage/union/refused.ts";
import type { UnionNode } from "#storage/union/union-node.ts";

/** How many stay open in each mount. */
const MOST = 256;
/** More branches than a union can have. */
const STRIDE = 1024;

export class DirectoryDescriptors {
  readonly #roots: readonly number[];
  readonly #open = new Map<number, number>();
  /** Out of the table, but perhaps in use until the request is over. */
  readonly #leaving: number[] = [];

  /** Descriptors of the branches, which stay the caller's. */
  constructor(roots: readonly number[]) {
    this.#roots = roots;
  }

  /** Of a node's directory in a branch. Valid until `tidy`. */
  of(node: UnionNode, branch: number): number {
    if (node.id === 1) return this.#roots[branch] as number;
    const key = node.id * STRIDE + branch;
    const found = this.#open.get(key);
    if (found !== undefined) return found;
    const { place } = node;
    if (place === undefined) refuse("ENOENT");
    const above = this.of(place.parent, branch);
    const fd = checked(quickOpen(above, place.name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    this.#open.set(key, fd);
    if (this.#open.size > MOST) this.#dropOldest();
    return fd;
  }

  #dropOldest(): void {
    for (const [key, fd] of this.#open) {
      this.#open.delete(key);
      this.#leaving.push(fd);
      return;
    }
  }

  /** The directory of a node is no longer where it was. */
  drop(node: UnionNode, branches: readonly number[]): void {
    for (const branch of branches) {
      const key = node.id * STRIDE + branch;
      const fd = this.#open.get(key);
      if (fd === undefined) continue;
      this.#open.delete(key);
      this.#leaving.push(fd);
    }
  }

  /** Between requests: nobody uses what has left. */
  tidy(): void {
    if (this.#leaving.length === 0) return;
    for (const fd of this.#leaving) quickClose(fd);
    this.#leaving.length = 0;
  }

  close(): void {
    this.#leaving.push(...this.#open.values());
    this.#open.clear();
    this.tidy();
  }
}
