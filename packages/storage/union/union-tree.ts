/**
 * The state of one union: its branches, its nodes, and how a node's file is reached.
 *
 * Owns the descriptors of the branches. What the operations do with it is in the other modules of this directory; all of
 * it is synchronous, and one request is over before the next begins.
 */
import type { FileDescriptor } from "#kernel/fd.ts";
import { S_IFDIR, S_IFMT } from "#kernel/file-syscalls.ts";
import { StatusView } from "#kernel/fuse/fuse-reply.ts";
import {
  becomeFileOwner,
  quickClose,
  quickMkdir,
  quickOpen,
  quickStatus,
  quickUmask,
  quickUnlink,
} from "#kernel/fuse/quick-calls.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from "#kernel/syscalls.ts";
import { DirectoryDescriptors } from "#storage/union/directory-descriptors.ts";
import type { Errands } from "#storage/union/errands.ts";
import { HardLinks, linksSeen, nameOf } from "#storage/union/hard-links.ts";
import { InodeNumbers } from "#storage/union/inode-numbers.ts";
import { ORPHANS } from "#storage/union/marks.ts";
import { openBranch } from "#storage/union/open-branch.ts";
import type { Backing } from "#storage/union/open-files.ts";
import { OpenFiles } from "#storage/union/open-files.ts";
import { removeOrphans } from "#storage/union/orphans.ts";
import { checked, refuse } from "#storage/union/refused.ts";
import { NodeTable, type UnionNode } from "#storage/union/union-node.ts";
import type { UnionBranch } from "#storage/union/union-types.ts";

export class UnionTree implements Disposable {
  readonly writable: boolean;
  readonly nodes: NodeTable;
  readonly root: UnionNode;
  readonly directories: DirectoryDescriptors;
  readonly numbers: InodeNumbers;
  readonly links = new HardLinks();
  readonly files: OpenFiles;
  /** Does what takes long; where there is none, it is done at once. */
  readonly errands: Errands | undefined;
  /** What the last look found. */
  readonly status = new StatusView();
  /** For looks on the side. */
  readonly scratch = new StatusView();
  /** Where things are made and from where they are removed; -1 in a union that nobody writes. */
  orphans = -1;
  readonly #roots: FileDescriptor[];
  #orphan = 0;
  #uid = 0;
  #gid = 0;
  #mask = 0;
  /** Where `reach` leads. */
  atDirectory = -1;
  atName = "";

  /** Throws SyscallError for a branch that cannot be opened. `passes`: the kernel may read and write files by itself. */
  constructor(
    branches: readonly UnionBranch[],
    device: Backing | undefined,
    passes: boolean,
    errands?: Errands,
  ) {
    this.errands = errands;
    this.#roots = [];
    try {
      for (const branch of branches) this.#roots.push(openBranch(branch));
    } catch (error) {
      for (const root of this.#roots) root.close();
      throw error;
    }
    const roots = this.#roots.map((root) => root.number);
    this.writable = branches[0]?.writable === true;
    const devices = roots.map((root) => {
      checked(quickStatus(root, "", this.status.bytes));
      return this.status.device;
    });
    this.numbers = new InodeNumbers(devices);
    this.directories = new DirectoryDescriptors(roots);
    this.files = new OpenFiles(this, device, passes);
    this.nodes = new NodeTable(1, (node) => this.#dropped(node));
    quickUmask(0);
    if (this.writable) this.#prepare(roots[0] as number);
    checked(quickStatus(roots[0] as number, "", this.status.bytes));
    this.root = this.nodes.make(S_IFDIR, this.numbers.of(0, this.status), 0, this.status.inode);
    this.root.layers = roots.map((_, index) => index);
  }

  #prepare(root: number): void {
    quickMkdir(root, ORPHANS, 0o700);
    this.orphans = checked(quickOpen(root, ORPHANS, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    removeOrphans(this.orphans);
    this.numbers.open(root);
    this.links.open(root);
  }

  /** The writable branch, or for a union that has none the uppermost. */
  get top(): number {
    return (this.#roots[0] as FileDescriptor).number;
  }

  /** A directory's descriptor in a branch, until the request is over. */
  directory(node: UnionNode, branch: number): number {
    return this.directories.of(node, branch);
  }

  /** Sets `atDirectory` and `atName` to where the node's file is. */
  reach(node: UnionNode): void {
    this.atName = "";
    if (node.hold >= 0) {
      this.atDirectory = node.hold;
    } else if (node.open !== undefined && node.open.fd >= 0 && node.open.branch === node.branch) {
      this.atDirectory = node.open.fd;
    } else if (node.link !== undefined && node.branch === 0 && node.link.copy !== 0) {
      this.atDirectory = this.links.directory;
      this.atName = nameOf(node.link);
    } else if (node.id === 1) {
      this.atDirectory = (this.#roots[node.branch] as FileDescriptor).number;
    } else if (node.place === undefined) {
      refuse("ESTALE");
    } else {
      this.atDirectory = this.directory(node.place.parent, node.branch);
      this.atName = node.place.name;
    }
  }

  /** Fills `status` with how the node is now. */
  look(node: UnionNode): void {
    this.reach(node);
    checked(quickStatus(this.atDirectory, this.atName, this.status.bytes));
  }

  /** How many names a node has, by what `status` says. */
  linksOf(node: UnionNode): number {
    if (!node.isDirectory) return linksSeen(node.link, node.branch, this.status.links);
    if (node.hold >= 0) return 0;
    // As other unions say of a directory whose subdirectories nobody has counted.
    return node.layers.length > 1 || node.id === 1 ? 1 : this.status.links;
  }

  /** The node's file stays reachable although its name goes. */
  hold(node: UnionNode): void {
    if (node.hold >= 0) return;
    this.reach(node);
    const { atDirectory, atName } = this;
    const path = atName === "" ? `/proc/self/fd/${atDirectory}` : undefined;
    node.hold = checked(
      path === undefined
        ? quickOpen(atDirectory, atName, O_PATH | O_NOFOLLOW)
        : quickOpen(-100, path, O_PATH),
    );
  }

  /** A name for what is made in, or moved to, the orphans. */
  orphanName(): string {
    return `${process.pid}.${this.#orphan++}`;
  }

  /** What is made from now on belongs to these, until `asRoot`. */
  as(uid: number, gid: number, mask: number): void {
    if (mask !== this.#mask) quickUmask(mask);
    this.#mask = mask;
    if (uid === this.#uid && gid === this.#gid) return;
    becomeFileOwner(uid, gid);
    this.#uid = uid;
    this.#gid = gid;
  }

  asRoot(): void {
    this.as(0, 0, 0);
  }

  /** What happened in a directory is told to its listing. */
  listed(parent: UnionNode, name: string, node: UnionNode | undefined): void {
    if (parent.listing === undefined) return;
    if (node === undefined) parent.listing.remove(name);
    else parent.listing.add(name, (node.kind & S_IFMT) >> 12, node.branch, node.inode);
  }

  #dropped(node: UnionNode): void {
    this.files.close(node);
    if (node.hold >= 0) quickClose(node.hold);
    node.hold = -1;
    if (node.copying?.done === true) quickUnlink(this.orphans, node.copying.made);
    if (node.isDirectory) this.directories.drop(node, node.layers);
  }

  [Symbol.dispose](): void {
    for (const node of this.nodes.all()) {
      this.files.close(node);
      if (node.hold >= 0) quickClose(node.hold);
    }
    this.directories.close();
    this.numbers.close();
    this.links.close();
    if (this.orphans >= 0) quickClose(this.orphans);
    for (const root of this.#roots) root.close();
  }
}
