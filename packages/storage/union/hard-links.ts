/**
 * Files that have several names below. Copied up under one, all show the copy: AUFS's pseudo-links.
 *
 * The copy has a further name in a directory of the union's own, made of the number of the inode below, and every name
 * below that leads to this inode leads to the copy from then on. How many of the names below are still what shows is
 * counted, so that the number of links is that of the names one sees.
 */
import { readFileSync } from "node:fs";
import { listDirectory } from "#kernel/file-syscalls.ts";
import { StatusView } from "#kernel/fuse/fuse-reply.ts";
import {
  quickClose,
  quickMkdir,
  quickOpen,
  quickStatus,
  quickUnlink,
  quickWrite,
} from "#kernel/fuse/quick-calls.ts";
import { O_APPEND, O_CREAT, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, O_RDWR } from "#kernel/syscalls.ts";
import { PSEUDO_LINKS } from "#storage/union/marks.ts";
import { checked } from "#storage/union/refused.ts";

/** One inode of a lower branch. */
export interface HardLink {
  /** Its number (inode-numbers.ts), which its copy's name is made of. */
  key: number;
  /** Names it has below. */
  lower: number;
  /** How many of them are hidden: by the copy's own names, or because they were removed. */
  covered: number;
  /** Inode of the copy; 0 while there is none. */
  copy: number;
}

const COUNTS = "counts";
const RECORD = 24;

export class HardLinks {
  /** The directory of the copies; -1 in a union that nobody writes. */
  directory = -1;
  readonly #byKey = new Map<number, HardLink>();
  readonly #byCopy = new Map<number, HardLink>();
  readonly #record = Buffer.alloc(RECORD);
  #log = -1;

  open(root: number): void {
    quickMkdir(root, PSEUDO_LINKS, 0o700);
    this.directory = checked(quickOpen(root, PSEUDO_LINKS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    this.#log = checked(quickOpen(this.directory, COUNTS, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, 0o600));
    const bytes = readFileSync(`/proc/self/fd/${this.#log}`);
    for (let at = 0; at + RECORD <= bytes.length; at += RECORD) {
      const key = bytes.readDoubleLE(at);
      const [lower, covered] = [bytes.readDoubleLE(at + 8), bytes.readDoubleLE(at + 16)];
      this.#byKey.set(key, { key, lower, covered, copy: 0 });
    }
    const status = new StatusView();
    for (const name of listDirectory(this.directory)) {
      if (name === COUNTS || quickStatus(this.directory, name, status.bytes) < 0) continue;
      const key = Number(name);
      const link = this.#byKey.get(key);
      if (link === undefined) {
        quickUnlink(this.directory, name);
        continue;
      }
      link.copy = status.inode;
      this.#byCopy.set(link.copy, link);
    }
  }

  /** The record of a lower inode; undefined while nothing was done to it. */
  find(key: number): HardLink | undefined {
    return this.#byKey.size === 0 ? undefined : this.#byKey.get(key);
  }

  /** That of a file of the writable branch. */
  findCopy(inode: number): HardLink | undefined {
    return this.#byCopy.size === 0 ? undefined : this.#byCopy.get(inode);
  }

  note(key: number, lower: number): HardLink {
    let link = this.#byKey.get(key);
    if (link === undefined) {
      link = { key, lower, covered: 0, copy: 0 };
      this.#byKey.set(key, link);
      this.#append(link);
    }
    return link;
  }

  copied(link: HardLink, copy: number): void {
    link.copy = copy;
    this.#byCopy.set(copy, link);
  }

  /** One name less leads to the inode below. */
  cover(link: HardLink): void {
    link.covered++;
    this.#append(link);
  }

  /** No name leads to the copy any more. */
  dropCopy(link: HardLink): void {
    this.#byCopy.delete(link.copy);
    link.copy = 0;
    quickUnlink(this.directory, nameOf(link));
  }

  #append(link: HardLink): void {
    if (this.#log < 0) return;
    this.#record.writeDoubleLE(link.key, 0);
    this.#record.writeDoubleLE(link.lower, 8);
    this.#record.writeDoubleLE(link.covered, 16);
    quickWrite(this.#log, this.#record, RECORD);
  }

  close(): void {
    if (this.#log >= 0) quickClose(this.#log);
    if (this.directory >= 0) quickClose(this.directory);
    this.#log = -1;
    this.directory = -1;
  }
}

export function nameOf(link: HardLink): string {
  return String(link.key);
}

/** How many names show the inode, of those that `status.links` counts on its branch. */
export function linksSeen(link: HardLink | undefined, branch: number, links: number): number {
  if (link === undefined) return links;
  if (branch !== 0) return links - link.covered;
  return link.copy === 0 ? links : links - 1 + link.lower - link.covered;
}
