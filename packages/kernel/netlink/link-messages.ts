/**
 * rtnetlink messages about links: bridges, veth pairs, their state, and reading them back. Pure.
 *
 * Every builder asks for an acknowledgement, so that a failure has an errno. Constants: linux/if_link.h, linux/if.h,
 * linux/veth.h, linux/if_bridge.h.
 */
import {
  attributeText,
  MessageWriter,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  parseAttributes,
} from "#kernel/netlink/message-codec.ts";

export const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_NET_NS_PID = 19;
const IFLA_IFALIAS = 20;
const IFLA_NEW_IFINDEX = 49;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_INFO_SLAVE_DATA = 5;
const VETH_INFO_PEER = 1;
const IFLA_BR_NF_CALL_IPTABLES = 36;
const IFLA_BR_NF_CALL_IP6TABLES = 37;
const IFLA_BRPORT_MODE = 4;
const IFLA_BRPORT_ISOLATED = 33;

export const IFF_UP = 1;

/** Interface names are at most 15 bytes (IFNAMSIZ with its NUL). */
export function isInterfaceName(name: string): boolean {
  return /^[^\s/:\0]{1,15}$/.test(name) && Buffer.byteLength(name) <= 15 && name !== "." && name !== "..";
}

/** `struct ifinfomsg`: family, type, index, flags, change mask. */
export function interfaceHeader(index: number, flags = 0, change = 0): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(change, 12);
  return header;
}

export interface BridgeOptions {
  name: string;
  /** Six bytes; a bridge without one of its own changes it with every port that joins. */
  mac: Uint8Array;
  mtu: number;
}

/** Makes a bridge, not up. EEXIST if the name is taken. */
export function createBridge(options: BridgeOptions): Buffer {
  const message = new MessageWriter(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
  message.bytes(interfaceHeader(0));
  message.text(IFLA_IFNAME, options.name);
  message.attribute(IFLA_ADDRESS, options.mac);
  message.u32(IFLA_MTU, options.mtu);
  message.nested(IFLA_LINKINFO, () => message.text(IFLA_INFO_KIND, "bridge"));
  return message.finish();
}

export interface VethOptions {
  /** Name of the end in the sender's namespace. */
  name: string;
  /** Its index, which must be free (EBUSY): the kernel heeds the peer's index only beside one of the near end. */
  index: number;
  /** Index of the bridge that end joins. */
  master: number;
  mtu: number;
  peer: { name: string; index: number; mac: Uint8Array };
  /** A process in the peer's namespace; leave out to patch it in later at `pidAt`. */
  peerPid?: number;
}

/**
 * Makes a veth pair in one message: the near end up and in its bridge, the far end in the namespace of a process,
 * with index and MAC chosen here so that whatever is sent about it later can be written in advance. The far end is
 * not up: the kernel refuses that in a message which also moves it.
 */
export function createVeth(options: VethOptions): { bytes: Buffer; pidAt: number } {
  const message = new MessageWriter(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
  message.bytes(interfaceHeader(options.index, IFF_UP, IFF_UP));
  message.text(IFLA_IFNAME, options.name);
  message.u32(IFLA_MTU, options.mtu);
  message.u32(IFLA_MASTER, options.master);
  let pidAt = 0;
  message.nested(IFLA_LINKINFO, () => {
    message.text(IFLA_INFO_KIND, "veth");
    message.nested(IFLA_INFO_DATA, () => {
      message.nested(VETH_INFO_PEER, () => {
        message.bytes(interfaceHeader(options.peer.index));
        message.text(IFLA_IFNAME, options.peer.name);
        message.u32(IFLA_MTU, options.mtu);
        message.attribute(IFLA_ADDRESS, options.peer.mac);
        pidAt = message.u32(IFLA_NET_NS_PID, options.peerPid ?? 0);
      });
    });
  });
  return { bytes: message.finish(), pidAt };
}

/** What a bridge does at one of its ports. */
export interface BridgePortOptions {
  /** Frames may leave by the port they came in. */
  hairpin?: boolean;
  /** No frames to other isolated ports. */
  isolated?: boolean;
}

/** Sets a bridge port's options, by the name of the enslaved link. */
export function setBridgePort(name: string, options: BridgePortOptions): Buffer {
  const message = new MessageWriter(RTM_NEWLINK, NLM_F_ACK);
  message.bytes(interfaceHeader(0));
  message.text(IFLA_IFNAME, name);
  message.nested(IFLA_LINKINFO, () => {
    message.text(IFLA_INFO_SLAVE_KIND, "bridge");
    message.nested(IFLA_INFO_SLAVE_DATA, () => {
      if (options.hairpin !== undefined) message.u8(IFLA_BRPORT_MODE, options.hairpin ? 1 : 0);
      if (options.isolated !== undefined) message.u8(IFLA_BRPORT_ISOLATED, options.isolated ? 1 : 0);
    });
  });
  return message.finish();
}

export interface LinkChange {
  up?: boolean;
  /** Index of the bridge to join; 0 leaves the present one. */
  master?: number;
  mtu?: number;
  /** The link must be down to be renamed on older kernels. */
  name?: string;
  mac?: Uint8Array;
  /** Free text shown by `ip link`. */
  alias?: string;
}

/** Changes a link by its index. */
export function changeLink(index: number, change: LinkChange): Buffer {
  const message = new MessageWriter(RTM_NEWLINK, NLM_F_ACK);
  const mask = change.up === undefined ? 0 : IFF_UP;
  message.bytes(interfaceHeader(index, change.up ? IFF_UP : 0, mask));
  if (change.name !== undefined) message.text(IFLA_IFNAME, change.name);
  if (change.mac !== undefined) message.attribute(IFLA_ADDRESS, change.mac);
  if (change.mtu !== undefined) message.u32(IFLA_MTU, change.mtu);
  if (change.master !== undefined) message.u32(IFLA_MASTER, change.master);
  if (change.alias !== undefined) message.text(IFLA_IFALIAS, change.alias);
  return message.finish();
}

/**
 * Has a bridge show the frames that stay within it to iptables and nftables (of both families), as bridge-nf-call-iptables
 * does for all bridges. Needs br_netfilter.
 */
export function filterBridgedFrames(index: number): Buffer {
  const message = new MessageWriter(RTM_NEWLINK, NLM_F_ACK);
  message.bytes(interfaceHeader(index));
  message.nested(IFLA_LINKINFO, () => {
    message.text(IFLA_INFO_KIND, "bridge");
    message.nested(IFLA_INFO_DATA, () => {
      message.u8(IFLA_BR_NF_CALL_IPTABLES, 1);
      message.u8(IFLA_BR_NF_CALL_IP6TABLES, 1);
    });
  });
  return message.finish();
}

/**
 * Moves a link into the namespace of a process, patched in at `pidAt`, under a name and an index of the caller's choice
 * there (Linux 5.12). It arrives down and without its addresses.
 */
export function moveLink(
  index: number,
  to: { name: string; index?: number },
): { bytes: Buffer; pidAt: number } {
  const message = new MessageWriter(RTM_NEWLINK, NLM_F_ACK);
  message.bytes(interfaceHeader(index));
  message.text(IFLA_IFNAME, to.name);
  if (to.index !== undefined) message.u32(IFLA_NEW_IFINDEX, to.index);
  const pidAt = message.u32(IFLA_NET_NS_PID, 0);
  return { bytes: message.finish(), pidAt };
}

/** Deletes a link by index. Waits for the network stack to let go of it: tens of milliseconds. */
export function deleteLink(index: number): Buffer {
  const message = new MessageWriter(RTM_DELLINK, NLM_F_ACK);
  message.bytes(interfaceHeader(index));
  return message.finish();
}

export function dumpLinks(): Buffer {
  const message = new MessageWriter(RTM_GETLINK, NLM_F_DUMP);
  message.bytes(interfaceHeader(0));
  return message.finish();
}

export interface Link {
  index: number;
  name: string;
  up: boolean;
  mtu: number;
  /** "02:42:ac:11:00:02"; "" for a link without one. */
  mac: string;
  /** Index of the bridge it belongs to, 0 for none. */
  master: number;
  /** "bridge", "veth"; "" for real devices and loopback. */
  kind: string;
  alias: string;
}

/** Reads the payload of an RTM_NEWLINK message. */
export function parseLink(payload: Buffer): Link {
  const attributes = parseAttributes(payload, 16);
  const info = parseAttributes(attributes.get(IFLA_LINKINFO) ?? Buffer.alloc(0));
  return {
    index: payload.readInt32LE(4),
    name: attributeText(attributes.get(IFLA_IFNAME) ?? Buffer.alloc(0)),
    up: (payload.readUInt32LE(8) & IFF_UP) !== 0,
    mtu: attributes.get(IFLA_MTU)?.readUInt32LE(0) ?? 0,
    mac: formatMac(attributes.get(IFLA_ADDRESS) ?? Buffer.alloc(0)),
    master: attributes.get(IFLA_MASTER)?.readUInt32LE(0) ?? 0,
    kind: attributeText(info.get(IFLA_INFO_KIND) ?? Buffer.alloc(0)),
    alias: attributeText(attributes.get(IFLA_IFALIAS) ?? Buffer.alloc(0)),
  };
}

/** "02:42:ac:11:00:02" */
export function formatMac(mac: Uint8Array): string {
  return [...mac].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** Six bytes of a MAC written with colons or hyphens; undefined if it is none. */
export function parseMac(text: string): Uint8Array | undefined {
  const match = /^([0-9a-f]{2})([:-])([0-9a-f]{2}\2){4}[0-9a-f]{2}$/i.exec(text);
  if (match === null) return undefined;
  return Uint8Array.from(text.split(/[:-]/), (byte) => Number.parseInt(byte, 16));
}
