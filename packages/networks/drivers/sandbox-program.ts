/**
 * The netlink messages that join a container's new namespace to its network, written in full beforehand: nothing is
 * asked back. Pure.
 */
import { addAddress, addRoute } from "#kernel/netlink/address-messages.ts";
import { changeLink, createVeth, setBridgePort } from "#kernel/netlink/link-messages.ts";
import { type Address, addressBytes, broadcastOf, type Prefix } from "#networks/ipam/prefix.ts";
import type { NetlinkRequest, SandboxProgram } from "#runtime/launch-types.ts";

/** Every namespace is born with its loopback under this index. */
const loopbackIndex = 1;
/** Index of eth0 inside; beyond the tunnel devices some kernels put into every namespace. */
const firstIndex = 16;

/** Loopback and nothing else: `--network none`. */
export function loopbackProgram(): SandboxProgram {
  return { host: [], container: [loopbackUp()], sysctls: {} };
}

/** Nothing at all: the namespace is somebody else's. */
export function emptyProgram(): SandboxProgram {
  return { host: [], container: [], sysctls: {} };
}

export interface BridgeJoin {
  bridge: { name: string; index: number };
  veth: { name: string; index: number };
  mtu: number;
  mac: Uint8Array;
  address: Address;
  subnet: Prefix;
  gateway: Address;
  /** The container publishes ports: it may reach itself through the bridge. */
  hairpin: boolean;
  /** The bridge must not pass frames between containers. */
  isolated: boolean;
  /** Does this kernel have IPv6 at all? It is switched off inside, but for loopback. */
  ipv6: boolean;
}

export function bridgeProgram(join: BridgeJoin): SandboxProgram {
  const veth = createVeth({
    name: join.veth.name,
    index: join.veth.index,
    master: join.bridge.index,
    mtu: join.mtu,
    peer: { name: "eth0", index: firstIndex, mac: join.mac },
  });
  const host: NetlinkRequest[] = [
    {
      why: `create veth pair ${join.veth.name} - eth0 on ${join.bridge.name}`,
      bytes: veth.bytes,
      pidAt: [veth.pidAt],
    },
  ];
  if (join.hairpin || join.isolated) {
    host.push({
      why: `set bridge port options of ${join.veth.name}`,
      bytes: setBridgePort(join.veth.name, {
        ...(join.hairpin && { hairpin: true }),
        ...(join.isolated && { isolated: true }),
      }),
      pidAt: [],
    });
  }
  const container: NetlinkRequest[] = [
    loopbackUp(),
    {
      why: "set the address of eth0",
      bytes: addAddress({
        link: firstIndex,
        address: addressBytes(join.address),
        prefixLength: join.subnet.length,
        broadcast: addressBytes(broadcastOf(join.subnet)),
      }),
      pidAt: [],
    },
    { why: "bring eth0 up", bytes: changeLink(firstIndex, { up: true }), pidAt: [] },
    {
      why: "add the default route",
      bytes: addRoute({ link: firstIndex, gateway: addressBytes(join.gateway) }),
      pidAt: [],
    },
  ];
  // "all" also covers what is made later; loopback keeps its ::1.
  const ipv6: Record<string, string> = join.ipv6
    ? { "net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/lo/disable_ipv6": "0" }
    : {};
  return { host, container, sysctls: { ...ipv6, ...eagerNeighbours("eth0") } };
}

/**
 * Settings that make an interface ask for a neighbour's MAC every 25 ms, for three seconds, where the kernel would ask
 * three times in three seconds. The kernel notices that a new link is up some milliseconds after the container could
 * already send; a question lost in that gap would cost the container's first connection a whole second.
 */
export function eagerNeighbours(name: string): Record<string, string> {
  const directory = `net/ipv4/neigh/${name}`;
  return {
    [`${directory}/retrans_time_ms`]: "25",
    [`${directory}/mcast_solicit`]: "120",
    [`${directory}/ucast_solicit`]: "120",
  };
}

function loopbackUp(): NetlinkRequest {
  return { why: "bring lo up", bytes: changeLink(loopbackIndex, { up: true }), pidAt: [] };
}

/** 02:42 and the address, as Docker derives it: the same address always has the same MAC. */
export function macFromAddress(address: Address): Uint8Array {
  return Uint8Array.of(0x02, 0x42, ...addressBytes(address));
}
