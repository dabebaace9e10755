/**
 * ctnetlink: forgetting tracked flows. Pure.
 *
 * The kernel decides about address translation at a flow's first packet only; a UDP flow that never pauses keeps to
 * what was decided before a port was published, or after it was withdrawn, unless its entry is deleted. Constants:
 * linux/netfilter/nfnetlink_conntrack.h; the filter bits are those of the kernel's ctnetlink (CTA_FILTER_F_*).
 */
import { MessageWriter, NLM_F_ACK } from "#kernel/netlink/message-codec.ts";

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_DELETE = 2;
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
