/**
 * `linux.netDevices`: devices of the host that move into the container's network namespace, with the addresses they have.
 * Reads the host; the moves themselves are part of the program. They come back to nobody: when the namespace ends, real
 * devices return to the host's first namespace and virtual ones are gone.
 */
import { BerthError } from "#errors/errors.ts";
import {
  addAddress,
  dumpAddresses,
  type LinkAddress,
  parseAddress,
} from "#kernel/netlink/address-messages.ts";
import {
  changeLink,
  dumpLinks,
  isInterfaceName,
  type Link,
  moveLink,
  parseLink,
} from "#kernel/netlink/link-messages.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { loopbackUp } from "#runtime/compile/network-setup.ts";
import type { NetlinkRequest, SandboxProgram } from "#runtime/launch-types.ts";
import type { Spec } from "#runtime/spec-types.ts";

/** Index of the first one in the container: beyond what a namespace is born with and what others put there. */
const FIRST_INDEX = 1000;

/** Throws "invalid" for a device that isn't there, or where there is no network namespace to move it to. */
export function planNetDevices(spec: Spec): SandboxProgram {
  const wanted = Object.entries(spec.linux?.netDevices ?? {});
  if (!spec.linux?.namespaces?.some(({ type }) => type === "network")) {
    throw refuse("linux.netDevices: unable to move network devices without a network namespace");
  }
  using netlink = new NetlinkSocket();
  const links = netlink.dump(dumpLinks()).map(({ payload }) => parseLink(payload));
  const addresses = netlink.dump(dumpAddresses()).map(({ payload }) => parseAddress(payload));
  const moves = wanted.map(([device, { name = device }], position) => {
    const link = links.find((candidate) => candidate.name === device);
    if (link === undefined)
      throw refuse(`linux.netDevices: network device ${JSON.stringify(device)} not found`);
    if (!isInterfaceName(name)) throw refuse(`linux.netDevices: invalid name ${JSON.stringify(name)}`);
    const own = addresses.filter((address) => address.link === link.index && address.lasting);
    return moveDevice(link, { name, index: FIRST_INDEX + position }, own);
  });
  return {
    host: moves.map(({ host }) => host),
    container: [loopbackUp(), ...moves.flatMap(({ container }) => container)],
    sysctls: {},
  };
}

function moveDevice(
  link: Link,
  to: { name: string; index: number },
  addresses: readonly LinkAddress[],
): { host: NetlinkRequest; container: NetlinkRequest[] } {
  const { bytes, pidAt } = moveLink(link.index, to);
  const inside = (why: string, message: Uint8Array): NetlinkRequest => ({ why, bytes: message, pidAt: [] });
  return {
    host: { why: `move network device ${link.name} into the container as ${to.name}`, bytes, pidAt: [pidAt] },
    container: [
      ...addresses.map(({ address, prefixLength }) =>
        inside(`keep an address of ${to.name}`, addAddress({ link: to.index, address, prefixLength })),
      ),
      inside(`bring ${to.name} up`, changeLink(to.index, { up: true })),
    ],
  };
}

function refuse(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "move network devices" });
}
