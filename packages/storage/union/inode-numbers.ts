/**
 * The numbers that files have in a union: those of the branch where they came from, also after they were copied up, and
 * also in the next mount.
 *
 * What was copied keeps the number it had below by a record in the writable branch: its inode there, when that was made
 * (so that a record does not outlive its file), and the number. Where the branches are on several file systems, each gets
 * a range of its own.
 */
import { readFileSync } from "node:fs";
import type { StatusView } from "#kernel/fuse/fuse-reply.ts";
import { quickClose, quickOpen, quickWrite } from "#kernel/fuse/quick-calls.ts";
import { O_APPEND, O_CREAT, O_NOFOLLOW, O_RDWR } from "#kernel/syscalls.ts";
import { NUMBERS } from "#storage/union/marks.ts";
import { checked } from "#storage/union/refused.ts";

/** Numbers of a file system are below this here. */
const RANGE = 2 ** 48;
const RECORD = 24;

interface Origin {
  born: number;
  ino: number;
}

export class InodeNumbers {
  /** Which range a branch's numbers are in. */
  readonly #ranges: readonly number[];
  readonly #origins = new Map<number, Origin>();
  readonly #record = Buffer.alloc(RECORD);
  #log = -1;

  /** `devices`: of each branch. */
  constructor(devices: readonly number[]) {
    const different = [...new Set(devices)];
    this.#ranges = devices.map((device) => different.indexOf(device) * RANGE);
  }

  /** Reads what earlier mounts have recorded in the writable branch, and records there from now on. */
  open(root: number): void {
    this.#log = checked(quickOpen(root, NUMBERS, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, 0o600));
    const bytes = readFileSync(`/proc/self/fd/${this.#log}`);
    for (let at = 0; at + RECORD <= bytes.length; at += RECORD) {
      const inode = bytes.readDoubleLE(at);
      const ino = bytes.readDoubleLE(at + 16);
      if (ino === 0) this.#origins.delete(inode);
      else this.#origins.set(inode, { born: bytes.readDoubleLE(at + 8), ino });
    }
  }

  of(branch: number, status: StatusView): number {
    const inode = status.inode;
    if (branch === 0 && this.#origins.size > 0) {
      const origin = this.#origins.get(inode);
      if (origin !== undefined && origin.born === status.born) return origin.ino;
    }
    return (this.#ranges[branch] as number) + inode;
  }

  /** By the number that a directory's entry has: good enough for listings. */
  ofEntry(branch: number, inode: number): number {
    if (branch === 0 && this.#origins.size > 0) {
      const origin = this.#origins.get(inode);
      if (origin !== undefined) return origin.ino;
    }
    return (this.#ranges[branch] as number) + inode;
  }

  /** One for all branches of a file system: what hard links are known by. */
  key(branch: number, inode: number): number {
    return (this.#ranges[branch] as number) + inode;
  }

  /** A copy in the writable branch goes on with the number of what it is a copy of. */
  keep(copy: StatusView, ino: number): void {
    this.#origins.set(copy.inode, { born: copy.born, ino });
    this.#append(copy.inode, copy.born, ino);
  }

  /** The file is gone, and its inode may become another. */
  drop(inode: number): void {
    if (this.#origins.delete(inode)) this.#append(inode, 0, 0);
  }

  #append(inode: number, born: number, ino: number): void {
    if (this.#log < 0) return;
    this.#record.writeDoubleLE(inode, 0);
    this.#record.writeDoubleLE(born, 8);
    this.#record.writeDoubleLE(ino, 16);
    // Numbers are a convenience: no room for one more is no reason to fail.
    quickWrite(this.#log, this.#record, RECORD);
  }

  close(): void {
    if (this.#log >= 0) quickClose(this.#log);
    this.#log = -1;
  }
}
