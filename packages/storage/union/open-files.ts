/**
 * Files that are open: one descriptor for each node, however many have it open, and how the kernel reads and writes it.
 *
 * *Passed through*: the kernel uses the branch's file by itself, whose pages all mounts share; so is what is in the writable
 * branch, and what is large. *Cached*: it asks for what is not in its memory; so are small files, which are then opened
 * and read at one go, and programs that lose rights when they are written. All who have a node open at the same time have it in
 * one and the same way.
 *
 * Who has a large file of a lower branch open while it is copied up goes on reading the old one, as with overlayfs: the
 * node is given up (ESTALE), and the kernel asks anew what the name is.
 */
import { ERRNO } from "#kernel/errno.ts";
import { FOPEN } from "#kernel/fuse/fuse-protocol.ts";
import { quickChmod, quickClose, quickOpen, quickPread, quickTruncate } from "#kernel/fuse/quick-calls.ts";
import { O_NOFOLLOW, O_RDONLY, O_RDWR, O_TRUNC } from "#kernel/syscalls.ts";
import { copyUp } from "#storage/union/copy-up.ts";
import { checked, refuse } from "#storage/union/refused.ts";
import type { UnionNode } from "#storage/union/union-node.ts";
import type { UnionTree } from "#storage/union/union-tree.ts";

/** The kernel's side of the mount: FuseDevice. */
export interface Backing {
  openBacking(file: number): number;
  closeBacking(number: number): void;
  store(node: number, length: number, fill: (out: Buffer) => number): void;
}

export interface OpenFile {
  /** -1 until it is needed. */
  fd: number;
  /** Where the file is that `fd` is of. */
  branch: number;
  writable: boolean;
  /** How many have it open. */
  uses: number;
  /** Does any of them write? */
  written: boolean;
  /** Do they pass through? Decided by the first of them. */
  through: boolean;
  /** The kernel's number for `fd`; 0 while it has none. */
  backing: number;
}

/** Files of lower branches from this size on pass through, bytes. */
const LARGE = 128 * 1024;
/** Those up to this size are handed over when they are opened. */
const STORED = 64 * 1024;
/** Files that nobody has open any more stay so, for the next one: so many of each mount. */
const IDLE = 128;

export class OpenFiles {
  readonly #tree: UnionTree;
  readonly #device: Backing | undefined;
  /** The same, where files may pass through. */
  #backing: Backing | undefined;
  readonly #idle = new Set<UnionNode>();
  /** How the last `open` is to be answered: FOPEN_…, and the kernel's number. */
  flags = 0;
  backing = 0;

  constructor(tree: UnionTree, device: Backing | undefined, passes: boolean) {
    this.#tree = tree;
    this.#device = device;
    this.#backing = passes ? device : undefined;
  }

  /** Opens a regular file once more. `killsRights`: the caller's truncation takes set-id bits away. */
  open(node: UnionNode, flags: number, caller: number, killsRights: boolean): void {
    const writes = (flags & 3) !== O_RDONLY || (flags & O_TRUNC) !== 0;
    if (writes) this.prepareWrite(node, (flags & O_TRUNC) !== 0);
    const file = this.#file(node);
    if (writes && !file.writable) refuse("EACCES");
    if ((flags & O_TRUNC) !== 0) {
      checked(quickTruncate(file.fd, 0));
      if (killsRights) this.killRights(node);
    }
    this.#use(node, file, writes, caller);
  }

  /** The content of a file is about to change: it is in the writable branch, and everybody sees the same. */
  prepareWrite(node: UnionNode, empty: boolean): void {
    if (node.branch !== 0) copyUp(this.#tree, node, empty);
    const { open } = node;
    if (open !== undefined && open.uses > 0 && open.branch !== 0) {
      this.#giveUp(node, open.branch);
      refuse("ESTALE");
    }
  }

  /** Its names lead to another node from now on; those who have it open keep it. */
  #giveUp(node: UnionNode, branch: number): void {
    const { nodes } = this.#tree;
    nodes.unindex(node);
    node.branch = branch;
    node.link = undefined;
    // `open` is of that branch: that is where it is reached until then.
    this.#tree.hold(node);
    for (let { place } = node; place !== undefined; place = node.place) {
      nodes.dropPlace(node, place.parent, place.name);
    }
  }

  /** The open file of a node, opened now if it is not. */
  #file(node: UnionNode): OpenFile {
    const { open } = node;
    if (open !== undefined && (open.branch === node.branch || open.uses > 0)) return open;
    if (open !== undefined) this.close(node);
    const file = this.#openNow(node);
    node.open = file;
    return file;
  }

  #openNow(node: UnionNode): OpenFile {
    const tree = this.#tree;
    const { branch } = node;
    // What the kernel has in its memory by now, or asks for later.
    if (branch !== 0 && node.size < LARGE) {
      return { fd: -1, branch, writable: false, uses: 0, written: false, through: false, backing: 0 };
    }
    tree.reach(node);
    let writable = branch === 0 && tree.writable;
    let fd = this.#openAs(writable ? O_RDWR : O_RDONLY);
    if (writable && fd < 0) {
      // Immutable, or append-only: the kernel says so to those who want to write.
      writable = false;
      fd = this.#openAs(O_RDONLY);
    }
    return { fd: checked(fd), branch, writable, uses: 0, written: false, through: false, backing: 0 };
  }

  #openAs(flags: number): number {
    const { atDirectory, atName } = this.#tree;
    return atName === ""
      ? quickOpen(-100, `/proc/self/fd/${atDirectory}`, flags)
      : quickOpen(atDirectory, atName, flags | O_NOFOLLOW);
  }

  /** A file that was just made, and is open. */
  adopt(node: UnionNode, fd: number, caller: number): void {
    const file = { fd, branch: 0, writable: true, uses: 0, written: false, through: false, backing: 0 };
    node.open = file;
    this.#use(node, file, true, caller);
  }

  #use(node: UnionNode, file: OpenFile, writes: boolean, caller: number): void {
    if (file.uses === 0) {
      file.through = this.#mayPass(node, file, writes) && this.#back(file);
      this.#idle.delete(node);
    } else if (writes && file.through && caller !== 0 && this.#hasRights(node)) {
      // The kernel would write without taking them away.
      this.killRights(node);
    }
    if (file.uses === 0 && !file.through && file.branch !== 0) this.#store(node, file);
    file.uses++;
    file.written ||= writes;
    if (file.through) {
      if (writes) node.stale = true;
      this.flags = FOPEN.PASSTHROUGH;
      this.backing = file.backing;
    } else {
      this.flags = node.stale ? 0 : FOPEN.KEEP_CACHE;
      this.backing = 0;
      node.stale = false;
    }
  }

  /**
   * Who opens a small file reads it, nearly always: the kernel gets it before it asks. Nobody else has it open, so nobody
   * waits for a page of it.
   */
  #store(node: UnionNode, file: OpenFile): void {
    if (node.stored || node.size === 0 || node.size > STORED) return;
    node.stored = true;
    const fd = this.descriptor(node);
    this.#device?.store(node.id, node.size, (out) => quickPread(fd, out, 0));
    file.fd = -1;
    quickClose(fd);
  }

  #mayPass(node: UnionNode, file: OpenFile, writes: boolean): boolean {
    if (this.#backing === undefined) return false;
    if (file.branch !== 0) return node.size >= LARGE;
    return !(writes && this.#hasRights(node));
  }

  #back(file: OpenFile): boolean {
    if (file.backing !== 0) return true;
    const number = this.#backing?.openBacking(file.fd) ?? -1;
    if (number > 0) {
      file.backing = number;
      return true;
    }
    // Not with this file system below, or not with our rights: not the next time either.
    if (number !== -ERRNO.ENOMEM && number !== -ERRNO.EMFILE && number !== -ERRNO.ENOSPC)
      this.#backing = undefined;
    return false;
  }

  #hasRights(node: UnionNode): boolean {
    this.#tree.look(node);
    return rightsToLose(this.#tree.status.mode);
  }

  /** Takes set-user-id and set-group-id away, as the kernel does with a file that is written. */
  killRights(node: UnionNode): void {
    const tree = this.#tree;
    tree.look(node);
    const { mode } = tree.status;
    if (rightsToLose(mode)) {
      const kept = mode & 0o7777 & ~(0o4000 | ((mode & 0o10) !== 0 ? 0o2000 : 0));
      checked(quickChmod(tree.atDirectory, tree.atName, kept));
    }
  }

  /** The descriptor for what is asked of an open file. */
  descriptor(node: UnionNode): number {
    const { open } = node;
    if (open === undefined) refuse("EBADF");
    if (open.fd < 0) {
      this.#tree.reach(node);
      open.fd = checked(this.#openAs(O_RDONLY));
    }
    return open.fd;
  }

  release(node: UnionNode): void {
    const { open } = node;
    if (open === undefined || open.uses === 0) return;
    open.uses--;
    if (open.uses > 0) return;
    open.written = false;
    if (open.branch !== node.branch || node.hold >= 0 || open.fd < 0) {
      this.close(node);
      return;
    }
    this.#idle.add(node);
    if (this.#idle.size <= IDLE) return;
    for (const oldest of this.#idle) {
      this.close(oldest);
      return;
    }
  }

  /** The node's file has become another: its copy in the writable branch. */
  moved(node: UnionNode): void {
    const { open } = node;
    if (open === undefined) return;
    if (open.uses === 0) {
      this.close(node);
      return;
    }
    if (open.through) return;
    node.open = undefined;
    const file = this.#openNow(node);
    file.uses = open.uses;
    file.written = open.written;
    node.open = file;
    if (open.fd >= 0) quickClose(open.fd);
  }

  close(node: UnionNode): void {
    const { open } = node;
    if (open === undefined) return;
    node.open = undefined;
    this.#idle.delete(node);
    if (open.backing !== 0) this.#backing?.closeBacking(open.backing);
    if (open.fd >= 0) quickClose(open.fd);
  }
}

function rightsToLose(mode: number): boolean {
  return (mode & 0o4000) !== 0 || (mode & 0o2010) === 0o2010;
}
