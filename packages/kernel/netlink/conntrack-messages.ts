/**
 * ctnetlink: forgetting tracked flows. Pure.
 *
 * The kernel decides about address translation at a flow's first packet only; a UDP flow that never pauses keeps to
 * what was decided before a port was published, or after it was withdrawn, unless its entry is deleted. Constants:
 * linux/netfilter/nfnetlink_conntrack.h; the filter bits are those of the kernel's ctnetlink (CTA_FILTER_F_*).
 */
import { MessageWriter, NLM_F_ACK, NLM_F_DUMP, parseAttributes } from "#kernel/netlink/message-codec.ts";

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_GET = 1;
const IPCTNL_MSG_CT_DELETE = 2;
/** `struct nfgenmsg`, before the attributes. */
const nfgenmsgSize = 4;
const AF_INET = 2;
const AF_INET6 = 10;

const CTA_TUPLE_ORIG = 1;
const CTA_FILTER = 25;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_IP_V4_DST = 2;
const CTA_IP_V6_DST = 4;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_DST_PORT = 3;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_FILTER_REPLY_FLAGS = 2;

const FILTER_IP_DST = 1 << 1;
const FILTER_PROTO_NUM = 1 << 3;
const FILTER_PROTO_DST_PORT = 1 << 5;

const IPPROTO_UDP = 17;

/**
 * Deletes the UDP flows that were begun to this address and port. Kernels that cannot filter here refuse with EINVAL
 * or ENOENT and delete nothing.
 */
export function forgetUdpFlows(address: Uint8Array, port: number): Buffer {
  const message = new MessageWriter((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
  const ipv4 = address.length === 4;
  message.bytes(Uint8Array.of(ipv4 ? AF_INET : AF_INET6, 0, 0, 0));
  message.nested(CTA_TUPLE_ORIG, () => {
    message.nested(CTA_TUPLE_IP, () => message.attribute(ipv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, address));
    message.nested(CTA_TUPLE_PROTO, () => {
      message.u8(CTA_PROTO_NUM, IPPROTO_UDP);
      message.attribute(CTA_PROTO_DST_PORT, Uint8Array.of(port >> 8, port & 0xff));
    });
  });
  message.nested(CTA_FILTER, () => {
    message.u32(CTA_FILTER_ORIG_FLAGS, FILTER_IP_DST | FILTER_PROTO_NUM | FILTER_PROTO_DST_PORT);
    message.u32(CTA_FILTER_REPLY_FLAGS, 0);
  });
  return message.finish();
}

/** Asks for the UDP flows of a family; a kernel that cannot filter sends those of all protocols. */
export function listUdpFlows(family: 4 | 6): Buffer {
  const message = new MessageWriter((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET, NLM_F_DUMP);
  message.bytes(Uint8Array.of(family === 4 ? AF_INET : AF_INET6, 0, 0, 0));
  message.nested(CTA_TUPLE_ORIG, () => {
    message.nested(CTA_TUPLE_PROTO, () => message.u8(CTA_PROTO_NUM, IPPROTO_UDP));
  });
  message.nested(CTA_FILTER, () => {
    message.u32(CTA_FILTER_ORIG_FLAGS, FILTER_PROTO_NUM);
    message.u32(CTA_FILTER_REPLY_FLAGS, 0);
  });
  return message.finish();
}

/** Where a flow of that list was begun to; undefined for what is not UDP. */
export function udpDestination(payload: Buffer): { address: Buffer; port: number } | undefined {
  const tuple = parseAttributes(
    parseAttributes(payload, nfgenmsgSize).get(CTA_TUPLE_ORIG) ?? Buffer.alloc(0),
  );
  const protocol = parseAttributes(tuple.get(CTA_TUPLE_PROTO) ?? Buffer.alloc(0));
  const addresses = parseAttributes(tuple.get(CTA_TUPLE_IP) ?? Buffer.alloc(0));
  const address = addresses.get(CTA_IP_V4_DST) ?? addresses.get(CTA_IP_V6_DST);
  const port = protocol.get(CTA_PROTO_DST_PORT);
  if (protocol.get(CTA_PROTO_NUM)?.[0] !== IPPROTO_UDP || port?.length !== 2) return undefined;
  return address && { address, port: port.readUInt16BE(0) };
}
