/**
 * Answers the kernel's requests to one union: takes each apart, has it done, writes the answer.
 *
 * A request that fails is answered by its error number; what fails for a fault of our own is EIO, and is told to `fault`.
 */
import { ERRNO } from "#kernel/errno.ts";
import { S_IFREG } from "#kernel/file-syscalls.ts";
import { OPCODE, SIZE } from "#kernel/fuse/fuse-protocol.ts";
import type { FuseReply } from "#kernel/fuse/fuse-reply.ts";
import type { FuseRequest } from "#kernel/fuse/fuse-request.ts";
import { quickReadlink } from "#kernel/fuse/quick-calls.ts";
import { listAttributes, readAttribute, removeAttribute, setAttribute } from "#storage/union/attributes.ts";
import { Postponed } from "#storage/union/errands.ts";
import {
  allocate,
  copyRange,
  readFile,
  seekFile,
  syncDirectory,
  syncFile,
  writeFile,
} from "#storage/union/file-content.ts";
import { fileSystemStatus } from "#storage/union/file-system-status.ts";
import { nodeAt } from "#storage/union/lookup.ts";
import {
  type Maker,
  makeDirectory,
  makeFile,
  makeLink,
  makeNameless,
  makeNode,
  makeSymlink,
} from "#storage/union/make-entries.ts";
import { negotiate } from "#storage/union/negotiate.ts";
import { checked, errnoOf, Refused, refuse } from "#storage/union/refused.ts";
import { removeDirectory, removeName } from "#storage/union/remove-entries.ts";
import { rename } from "#storage/union/rename-entries.ts";
import { readDirectory } from "#storage/union/serve-directories.ts";
import { setStatus } from "#storage/union/set-status.ts";
import type { UnionNode } from "#storage/union/union-node.ts";
import type { UnionTree } from "#storage/union/union-tree.ts";

/** What is answered with nothing at all; no error has this number. */
const NO_ANSWER = -10_000;

export interface ServiceParts {
  /** Hears of what is a fault of our own. */
  fault: (error: unknown) => void;
  /** Carries out a request that was put aside, as if it had just come. */
  resume: (request: Buffer) => void;
  /** Answers one that is over, with an error number or 0. */
  answer: (uniqueLow: number, uniqueHigh: number, errno: number) => void;
}

export class UnionService {
  readonly #tree: UnionTree;
  readonly #fault: ServiceParts["fault"];
  readonly #resume: ServiceParts["resume"];
  readonly #answer: ServiceParts["answer"];
  /** Whom the last answer told the kernel of. */
  #told: UnionNode | undefined;

  constructor(tree: UnionTree, { fault, resume, answer }: ServiceParts) {
    this.#tree = tree;
    this.#resume = resume;
    this.#answer = answer;
    this.#fault = fault;
  }

  /** Carries out the request; answers the length of what is to be written from `reply.buffer`, 0 for nothing. */
  serve(request: FuseRequest, reply: FuseReply): number {
    const { uniqueLow, uniqueHigh } = request;
    this.#told = undefined;
    let length: number;
    try {
      length = this.#perform(request, reply);
    } catch (error) {
      this.#tree.asRoot();
      if (error instanceof Postponed) {
        this.#postpone(error, request);
        return 0;
      }
      if (!(error instanceof Refused)) this.#fault(error);
      length = -errnoOf(error);
    }
    this.#tree.directories.tidy();
    if (length >= 0) return reply.finish(uniqueLow, uniqueHigh, length);
    return length === NO_ANSWER ? 0 : reply.finish(uniqueLow, uniqueHigh, 0, -length);
  }

  /** Puts the request aside until the errand is done. */
  #postpone({ ticket, again }: Postponed, request: FuseRequest): void {
    const { uniqueLow, uniqueHigh } = request;
    const kept = again ? Buffer.from(request.buffer.subarray(0, request.length)) : undefined;
    this.#tree.errands?.wait(ticket, (errno) => {
      if (errno === 0 && kept !== undefined) this.#resume(kept);
      else this.#answer(uniqueLow, uniqueHigh, errno);
    });
  }

  /** The last answer did not reach anybody. */
  undelivered(opcode: number): void {
    const node = this.#told;
    if (node === undefined) return;
    if (opcode === OPCODE.CREATE || opcode === OPCODE.TMPFILE || opcode === OPCODE.OPEN) {
      this.#tree.files.release(node);
    }
    if (opcode !== OPCODE.OPEN) this.#tree.nodes.forget(node.id, 1);
  }

  #perform(request: FuseRequest, reply: FuseReply): number {
    const tree = this.#tree;
    const { opcode } = request;
    switch (opcode) {
      case OPCODE.LOOKUP:
        return this.#lookup(request, reply);
      case OPCODE.FORGET:
        tree.nodes.forget(request.node, request.u64(0));
        return NO_ANSWER;
      case OPCODE.BATCH_FORGET:
        return this.#forget(request);
      case OPCODE.GETATTR: {
        const node = this.#node(request.node);
        tree.look(node);
        return this.#attributes(node, reply);
      }
      case OPCODE.SETATTR: {
        const node = this.#node(request.node);
        setStatus(tree, node, request);
        return this.#attributes(node, reply);
      }
      case OPCODE.READLINK:
        tree.reach(this.#node(request.node));
        return checked(quickReadlink(tree.atDirectory, tree.atName, reply.data(0, 4096)));
      case OPCODE.OPEN:
        return this.#open(request, reply);
      case OPCODE.RELEASE:
        return this.#release(request);
      case OPCODE.READ:
        return readFile(tree, this.#node(request.node), request.u64(8), reply.data(0, request.u32(16)));
      case OPCODE.WRITE:
        return writeFile(tree, this.#node(request.node), request, reply);
      case OPCODE.READDIR:
      case OPCODE.READDIRPLUS:
        return readDirectory(tree, this.#node(request.node), request, reply, opcode === OPCODE.READDIRPLUS);
      case OPCODE.STATFS:
        return fileSystemStatus(tree.top, reply);
      case OPCODE.FSYNC:
        return syncFile(tree, this.#node(request.node), (request.u32(8) & 1) !== 0);
      case OPCODE.FSYNCDIR:
        return syncDirectory(tree, this.#node(request.node));
      case OPCODE.GETXATTR:
        return readAttribute(tree, this.#node(request.node), request, reply);
      case OPCODE.LISTXATTR:
        return listAttributes(tree, this.#node(request.node), request.u32(0), reply);
      case OPCODE.SETXATTR:
        return setAttribute(tree, this.#node(request.node), request);
      case OPCODE.REMOVEXATTR:
        return removeAttribute(tree, this.#node(request.node), request.name(0));
      case OPCODE.FALLOCATE:
        return allocate(tree, this.#node(request.node), request);
      case OPCODE.LSEEK:
        return seekFile(tree, this.#node(request.node), request, reply);
      case OPCODE.COPY_FILE_RANGE:
      case OPCODE.COPY_FILE_RANGE_64:
        return copyRange(tree, this.#node(request.node), this.#node(request.u64(16)), request, reply);
      case OPCODE.INIT:
        return negotiate(request, reply);
      case OPCODE.INTERRUPT:
      case OPCODE.DESTROY:
        return NO_ANSWER;
      default:
        return this.#change(request, reply);
    }
  }

  /** What makes, moves and removes names. */
  #change(request: FuseRequest, reply: FuseReply): number {
    const tree = this.#tree;
    switch (request.opcode) {
      case OPCODE.CREATE:
        return this.#create(request, reply);
      case OPCODE.TMPFILE: {
        const maker = makerOf(request, request.u32(8));
        const { node, fd } = makeNameless(tree, this.#directory(request.node), request.u32(4), maker);
        return this.#created(node, fd, request, reply);
      }
      case OPCODE.MKNOD: {
        const maker = makerOf(request, request.u32(8));
        const [mode, device] = [request.u32(0), request.u32(4)];
        const parent = this.#directory(request.node);
        return this.#entry(makeNode(tree, parent, request.name(16), mode, device, maker), reply);
      }
      case OPCODE.MKDIR: {
        const maker = makerOf(request, request.u32(4));
        const parent = this.#directory(request.node);
        return this.#entry(makeDirectory(tree, parent, request.name(8), request.u32(0), maker), reply);
      }
      case OPCODE.SYMLINK: {
        const target = request.name(request.after(0));
        const parent = this.#directory(request.node);
        return this.#entry(makeSymlink(tree, parent, request.name(0), target, makerOf(request, 0)), reply);
      }
      case OPCODE.LINK: {
        const node = this.#node(request.u64(0));
        makeLink(tree, node, this.#directory(request.node), request.name(8));
        return this.#entry(node, reply);
      }
      case OPCODE.UNLINK:
        removeName(tree, this.#directory(request.node), request.name(0));
        return 0;
      case OPCODE.RMDIR:
        removeDirectory(tree, this.#directory(request.node), request.name(0));
        return 0;
      case OPCODE.RENAME:
        return this.#rename(request, 8, 0);
      case OPCODE.RENAME2:
        return this.#rename(request, 16, request.u32(8));
      default:
        // OPENDIR, FLUSH, ACCESS, STATX and the like: the kernel does without, and does not ask again.
        return -ERRNO.ENOSYS;
    }
  }

  #node(id: number): UnionNode {
    const node = this.#tree.nodes.get(id);
    if (node === undefined) refuse("ESTALE");
    return node;
  }

  #directory(id: number): UnionNode {
    const node = this.#node(id);
    if (!node.isDirectory) refuse("ENOTDIR");
    return node;
  }

  #lookup(request: FuseRequest, reply: FuseReply): number {
    const parent = this.#directory(request.node);
    const node = nodeAt(this.#tree, parent, request.name(0));
    if (node !== undefined) return this.#entry(node, reply);
    reply.noEntry(0);
    return SIZE.ENTRY_OUT;
  }

  #forget(request: FuseRequest): number {
    // What is not there is not counted.
    const count = Math.min(request.u32(0), Math.floor((request.length - SIZE.IN_HEADER - 8) / 16));
    for (let index = 0; index < count; index++) {
      this.#tree.nodes.forget(request.u64(8 + index * 16), request.u64(16 + index * 16));
    }
    return NO_ANSWER;
  }

  /** Tells the kernel of a node, whose status is in `tree.status`. */
  #entry(node: UnionNode, reply: FuseReply): number {
    const tree = this.#tree;
    reply.entry(0, node.id, tree.status, node.ino, tree.linksOf(node));
    node.lookups++;
    this.#told = node;
    return SIZE.ENTRY_OUT;
  }

  #attributes(node: UnionNode, reply: FuseReply): number {
    reply.attributesOut(0, this.#tree.status, node.ino, this.#tree.linksOf(node));
    return SIZE.ATTR_OUT;
  }

  #open(request: FuseRequest, reply: FuseReply): number {
    const node = this.#node(request.node);
    if (node.kind !== S_IFREG) refuse("EIO");
    const { files } = this.#tree;
    files.open(node, request.u32(0), request.uid, (request.u32(4) & 1) !== 0);
    this.#told = node;
    reply.open(0, files.flags, files.backing);
    return SIZE.OPEN_OUT;
  }

  #release(request: FuseRequest): number {
    const node = this.#tree.nodes.get(request.node);
    if (node !== undefined) this.#tree.files.release(node);
    return 0;
  }

  #create(request: FuseRequest, reply: FuseReply): number {
    const tree = this.#tree;
    const parent = this.#directory(request.node);
    const maker = makerOf(request, request.u32(8));
    const { node, fd } = makeFile(tree, parent, request.name(16), request.u32(4), maker);
    return this.#created(node, fd, request, reply);
  }

  #created(node: UnionNode, fd: number, request: FuseRequest, reply: FuseReply): number {
    const { files } = this.#tree;
    this.#entry(node, reply);
    files.adopt(node, fd, request.uid);
    reply.open(SIZE.ENTRY_OUT, files.flags, files.backing);
    return SIZE.ENTRY_OUT + SIZE.OPEN_OUT;
  }

  #rename(request: FuseRequest, names: number, flags: number): number {
    const from = { parent: this.#directory(request.node), name: request.name(names) };
    const to = { parent: this.#directory(request.u64(0)), name: request.name(request.after(names)) };
    rename(this.#tree, from, to, flags);
    return 0;
  }
}

function makerOf(request: FuseRequest, umask: number): Maker {
  return { uid: request.uid, gid: request.gid, umask };
}
