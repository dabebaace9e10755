/**
 * The thread that serves unions: waits for requests of all mounts, carries out one after the other.
 *
 * It has ids, rights and a mask of its own, for files are made as their makers'. It never touches a path that may lead into
 * one of its mounts: that would wait for itself.
 */
import { setPriority } from "node:os";
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { ERRNO } from "#kernel/errno.ts";
import { FuseDevice } from "#kernel/fuse/fuse-device.ts";
import { OPCODE, SIZE } from "#kernel/fuse/fuse-protocol.ts";
import { FuseReply } from "#kernel/fuse/fuse-reply.ts";
import { FuseRequest } from "#kernel/fuse/fuse-request.ts";
import { EPOLLIN, Poller, type Watch } from "#kernel/poller.ts";
import { unshareThreadUmask } from "#kernel/syscalls.ts";
import { keepRightsOfFileOwners } from "#kernel/thread-identity.ts";
import { drainWakes } from "#kernel/wake.ts";
import { Errands } from "#storage/union/errands.ts";
import { MOST_BYTES } from "#storage/union/negotiate.ts";
import { UnionService } from "#storage/union/serve-requests.ts";
import type { ThreadNews, ThreadOrder, ThreadSetup } from "#storage/union/union-thread-types.ts";
import { UnionTree } from "#storage/union/union-tree.ts";

/** As `nice -n -10`; of this thread alone. */
const PRIORITY = -10;
/** Requests of one mount before the others get their turn. */
const TURN = 64;

interface Served {
  id: number;
  device: FuseDevice;
  tree: UnionTree;
  service: UnionService;
  watch: Watch | undefined;
}

// Errors are answers here, made by the thousand: nobody reads where they came from.
Error.stackTraceLimit = 0;
// Somebody waits for every answer, whoever else has work for the processors.
setPriority(PRIORITY);
unshareThreadUmask();
keepRightsOfFileOwners();

/** "off": as on a kernel that cannot (before Linux 6.9), for tests and for comparison. */
const passes = process.env.BERTH_UNION_PASSTHROUGH !== "off";
const port = parentPort as MessagePort;
const { wake } = workerData as ThreadSetup;
const poller = new Poller();
const request = new FuseRequest(MOST_BYTES + 2 * 4096);
const reply = new FuseReply(MOST_BYTES + 4096);
const served = new Map<number, Served>();
const errands = new Errands((ticket, errand) => tell({ kind: "errand", ticket, errand }));

poller.watch(wake, EPOLLIN, () => {
  drainWakes(wake);
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
    obey(next.message as ThreadOrder);
  }
});
for (;;) poller.poll(-1);

function tell(news: ThreadNews): void {
  port.postMessage(news);
}

function obey(order: ThreadOrder): void {
  if (order.kind === "leave") process.exit(0);
  if (order.kind === "count") {
    const nodes = [...served.values()].map(({ id, tree }): [number, number] => [id, tree.nodes.size]);
    tell({ kind: "counted", ask: order.ask, nodes });
    return;
  }
  if (order.kind === "done") {
    errands.done(order.ticket, order.errno);
    return;
  }
  const { id, branches } = order;
  const device = FuseDevice.adopt(order.device);
  try {
    const tree = new UnionTree(branches, device, passes, errands);
    const service = new UnionService(tree, {
      fault: (error) => tell({ kind: "fault", message: String(error) }),
      resume: (kept) => resume(one, kept),
      answer: (low, high, errno) => {
        if (served.has(id)) device.write(reply.buffer, reply.finish(low, high, 0, errno));
      },
    });
    const one: Served = { id, device, tree, service, watch: undefined };
    served.set(id, one);
    one.watch = poller.watch(device.number, EPOLLIN, () => serve(one));
    tell({ kind: "prepared", id });
  } catch (error) {
    device[Symbol.dispose]();
    const code = error instanceof Error && "code" in error ? String(error.code) : "EIO";
    tell({ kind: "failed", id, code, message: error instanceof Error ? error.message : String(error) });
  }
}

function serve(one: Served): void {
  const { device, service } = one;
  for (let count = 0; count < TURN; count++) {
    const length = device.read(request.buffer);
    if (length === 0) return;
    // EPERM: it is not mounted yet.
    if (length === -ERRNO.EPERM) return;
    if (length < 0) {
      end(one);
      return;
    }
    if (request.begin(length)) answer(one, service.serve(request, reply));
  }
}

/** Writes an answer of this length, unless there is none. */
function answer(one: Served, length: number): void {
  if (length === 0 || !served.has(one.id)) return;
  if (one.device.write(reply.buffer, length) === -ERRNO.ENOENT) one.service.undelivered(request.opcode);
  if (request.opcode === OPCODE.INIT && length > SIZE.OUT_HEADER) tell({ kind: "answers", id: one.id });
}

/** A request that was put aside. */
function resume(one: Served, kept: Buffer): void {
  if (!served.has(one.id)) return;
  kept.copy(request.buffer);
  if (request.begin(kept.length)) answer(one, one.service.serve(request, reply));
}

function end(one: Served): void {
  one.watch?.end();
  served.delete(one.id);
  one.tree[Symbol.dispose]();
  one.device[Symbol.dispose]();
  tell({ kind: "ended", id: one.id });
}
