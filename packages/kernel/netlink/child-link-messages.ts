/**
 * rtnetlink messages about links that lie on another one: macvlan, ipvlan, 802.1q; and links that lead nowhere, to put
 * them on. Pure. Constants: linux/if_link.h, linux/if_vlan.h.
 */
import { IFF_UP, interfaceHeader, RTM_NEWLINK } from "#kernel/netlink/link-messages.ts";
import { MessageWriter, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL } from "#kernel/netlink/message-codec.ts";

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_LINKINFO = 18;
const IFLA_NET_NS_PID = 19;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_MACVLAN_MODE = 1;
const IFLA_IPVLAN_MODE = 1;
const IFLA_IPVLAN_FLAGS = 2;
const IFLA_VLAN_ID = 1;
const VETH_INFO_PEER = 1;

export const macvlanModes = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
export const ipvlanModes = { l2: 0, l3: 1, l3s: 2 } as const;
export const ipvlanFlags = { bridge: 0, private: 1, vepa: 2 } as const;

export type ChildKind =
  | { kind: "macvlan"; mode: keyof typeof macvlanModes }
  | { kind: "ipvlan"; mode: keyof typeof ipvlanModes; flag: keyof typeof ipvlanFlags };

export interface ChildLinkOptions {
  /** Index of the link it lies on, in the sender's namespace. */
  parent: number;
  child: ChildKind;
  /** Its name and index in the namespace it is born in. */
  link: { name: string; index: number };
  /** Undefined for the parent's. */
  mtu: number | undefined;
  /** Undefined for one of the kernel's choice; an ipvlan has its parent's always. */
  mac: Uint8Array | undefined;
  /** A process in that namespace; leave out to patch it in later at `pidAt`. */
  pid?: number;
}

/** Makes a link on a parent of the sender's namespace, born in the namespace of a process, not up. */
export function createChildLink(options: ChildLinkOptions): { bytes: Buffer; pidAt: number } {
  const { child, link } = options;
  const message = newLink(link.index, link.name);
  if (options.mtu !== undefined) message.u32(IFLA_MTU, options.mtu);
  if (options.mac !== undefined) message.attribute(IFLA_ADDRESS, options.mac);
  message.u32(IFLA_LINK, options.parent);
  message.nested(IFLA_LINKINFO, () => {
    message.text(IFLA_INFO_KIND, child.kind);
    message.nested(IFLA_INFO_DATA, () => {
      if (child.kind === "macvlan") message.u32(IFLA_MACVLAN_MODE, macvlanModes[child.mode]);
      else {
        message.attribute(IFLA_IPVLAN_MODE, u16(ipvlanModes[child.mode]));
        message.attribute(IFLA_IPVLAN_FLAGS, u16(ipvlanFlags[child.flag]));
      }
    });
  });
  const pidAt = message.u32(IFLA_NET_NS_PID, options.pid ?? 0);
  return { bytes: message.finish(), pidAt };
}

/**
 * Asks for a link of a kind that needs a parent, without one: EINVAL where the kernel knows the kind, EOPNOTSUPP where
 * it does not. Nothing is made either way; a module that has it is loaded.
 */
export function probeChildKind(kind: "macvlan" | "ipvlan" | "vlan"): Buffer {
  const message = newLink(0, undefined);
  message.nested(IFLA_LINKINFO, () => message.text(IFLA_INFO_KIND, kind));
  return message.finish();
}

/** Makes an 802.1q link for one VLAN (1 to 4094) of its parent, up. */
export function createVlan(options: { name: string; parent: number; id: number }): Buffer {
  const message = newLink(0, options.name, IFF_UP);
  message.u32(IFLA_LINK, options.parent);
  message.nested(IFLA_LINKINFO, () => {
    message.text(IFLA_INFO_KIND, "vlan");
    message.nested(IFLA_INFO_DATA, () => message.attribute(IFLA_VLAN_ID, u16(options.id)));
  });
  return message.finish();
}

/** Makes a link that leads nowhere, up. EOPNOTSUPP where the kernel has none of the kind. */
export function createDummy(name: string): Buffer {
  const message = newLink(0, name, IFF_UP);
  message.nested(IFLA_LINKINFO, () => message.text(IFLA_INFO_KIND, "dummy"));
  return message.finish();
}

/** Makes a veth pair with both ends in the sender's namespace, not up: that takes a peer that is there. */
export function createVethPair(name: string, peer: string): Buffer {
  const message = newLink(0, name);
  message.nested(IFLA_LINKINFO, () => {
    message.text(IFLA_INFO_KIND, "veth");
    message.nested(IFLA_INFO_DATA, () => {
      message.nested(VETH_INFO_PEER, () => {
        message.bytes(interfaceHeader(0));
        message.text(IFLA_IFNAME, peer);
      });
    });
  });
  return message.finish();
}

function newLink(index: number, name: string | undefined, flags = 0): MessageWriter {
  const message = new MessageWriter(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
  message.bytes(interfaceHeader(index, flags, flags));
  if (name !== undefined) message.text(IFLA_IFNAME, name);
  return message;
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}
