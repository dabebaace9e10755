/** Sends rtnetlink requests from a program and checks each acknowledgement. */
import type { Label, Register } from "#program/types.ts";
import { AF_NETLINK, NETLINK_ROUTE, SOCK_CLOEXEC, SOCK_RAW } from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { NetlinkRequest } from "#runtime/launch-types.ts";

/** An acknowledgement quotes the request it refuses, and a request is below a page. */
const ANSWER_ROOM = 8192;

export interface Patch {
  /** The container's host pid, for the requests that name it. */
  pid: Register;
  /** Called before an acknowledgement is judged. */
  beforeJudging?: () => void;
}

/** `protocol`: which part of the kernel they are for. */
export function sendRequests(
  w: ProgramWriter,
  requests: readonly NetlinkRequest[],
  patch?: Patch,
  protocol: number = NETLINK_ROUTE,
): void {
  if (requests.length === 0) return;
  const { b } = w;
  const answer = b.scratch(ANSWER_ROOM);
  w.borrow((socket) => {
    const why = "open a netlink socket";
    b.sys("socket", [AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol], { into: socket, why });
    for (const request of requests) {
      const message = b.bytes(request.bytes);
      for (const at of request.pidAt) {
        if (patch === undefined) throw new Error(`${request.why}: a pid is asked for where none is known`);
        b.store(patch.pid, b.slice(message, at, 4), 4);
      }
      b.sys("sendto", [socket, message, message.length, 0, 0, 0], { full: true, why: request.why });
      w.borrow((length) => {
        b.sys("recvfrom", [socket, answer, ANSWER_ROOM, 0, 0, 0], { into: length, why: request.why });
        patch?.beforeJudging?.();
        b.loadNetlinkError(answer, length, {
          why: request.why,
          ...(request.ignore !== undefined && { ignore: request.ignore }),
        });
      });
    }
    w.close(socket);
  });
}

/** RTM_NEWLINK that brings the loopback device up: it is always the first one, and down in a new namespace. */
export function loopbackUp(): NetlinkRequest {
  const RTM_NEWLINK = 16;
  const NLM_F_REQUEST_ACK = 1 | 4;
  const IFF_UP = 1;
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, RTM_NEWLINK, true);
  view.setUint16(6, NLM_F_REQUEST_ACK, true);
  view.setUint32(8, 1, true); // sequence
  // struct ifinfomsg: family, type, index, flags, change.
  view.setInt32(20, 1, true);
  view.setUint32(24, IFF_UP, true);
  view.setUint32(28, IFF_UP, true);
  return { why: "bring the loopback device up", bytes, pidAt: [] };
}

/** Jumps to `failed` if the other side of a status pipe has said something already. */
export function jumpIfReported(w: ProgramWriter, statusPipe: Register, failed: Label): void {
  const { b } = w;
  const FIONREAD = 0x541b;
  const room = b.scratch(8);
  w.borrow((count) => {
    b.sys("ioctl", [statusPipe, FIONREAD, room], { why: "ask for a report of the child" });
    b.load(count, room, 4);
    b.jumpIfNotZero(count, failed);
  });
}
