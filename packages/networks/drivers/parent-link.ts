/**
 * The link of the host's that macvlan and ipvlan networks lie on: found, or made where a network may have one of its own
 * (an 802.1q sub-interface, or a link that leads nowhere). Never changes a link that was there.
 */
import { BerthError } from "#errors/errors.ts";
import {
  type ChildLinkOptions,
  createChildLink,
  createDummy,
  createVethPair,
  createVlan,
  probeChildKind,
} from "#kernel/netlink/child-link-messages.ts";
import { changeLink, deleteLink, type Link } from "#kernel/netlink/link-messages.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { findLink } from "#networks/drivers/bridge-link.ts";
import { type ChildLinkSettings, parseVlan } from "#networks/drivers/child-link-settings.ts";

/** What the kernel answers that has no links of some kind. */
const EOPNOTSUPP = 95;

/** The parent, made if it is not there. */
export function ensureParent(
  netlink: NetlinkSocket,
  { parent, alone, child }: Pick<ChildLinkSettings, "parent" | "alone" | "child">,
): Link {
  if (netlink.tryRequest(probeChildKind(child.kind)) === EOPNOTSUPP) throw missing(child.kind);
  const found = findLink(netlink, parent);
  if (found !== undefined) return found;
  if (alone) makeLonely(netlink, parent);
  else makeVlan(netlink, parent);
  const link = findLink(netlink, parent);
  if (link === undefined) throw new Error(`the link ${parent} vanished after it was made`);
  return link;
}

/** A dummy; where the kernel has none, one end of a pair that nobody is at the other end of. */
function makeLonely(netlink: NetlinkSocket, name: string): void {
  const errno = netlink.tryRequest(createDummy(name));
  if (errno === 0) return;
  if (errno !== EOPNOTSUPP) throw refused(`failed to create the link ${name}: errno ${errno}`, name);
  const ends = [name, name.replace("-", "p")] as const;
  netlink.request(createVethPair(...ends), `create ${name}`);
  for (const end of ends) {
    const link = findLink(netlink, end);
    if (link !== undefined) netlink.request(changeLink(link.index, { up: true }), `bring ${end} up`);
  }
}

function makeVlan(netlink: NetlinkSocket, name: string): void {
  const { parent, id } = parseVlan(name);
  const below = findLink(netlink, parent);
  if (below === undefined) {
    throw new BerthError("invalid", `-o parent interface was not found on the host: ${parent}`, {
      operation: "create network",
      object: parent,
      hint: "`ip link` shows the links there are",
    });
  }
  if (netlink.tryRequest(probeChildKind("vlan")) === EOPNOTSUPP) throw missing("vlan");
  const errno = netlink.tryRequest(createVlan({ name, parent: below.index, id }));
  if (errno !== 0) throw refused(`failed to create ${name} vlan link: errno ${errno}`, name);
}

/** Can a link be made on the parent that has this MAC address? Makes one on the host for a moment. */
export async function canHave(
  options: Pick<ChildLinkOptions, "parent" | "child" | "link" | "mac">,
): Promise<boolean> {
  using netlink = new NetlinkSocket();
  const { bytes } = createChildLink({ ...options, mtu: undefined, pid: process.pid });
  if (netlink.tryRequest(bytes) !== 0) return false;
  const made = findLink(netlink, options.link.name);
  if (made === undefined) return false;
  const errno = netlink.tryRequest(changeLink(made.index, { up: true }));
  await netlink.requestSlowly(deleteLink(made.index));
  return errno === 0;
}

/** Deletes a link that was made for networks. */
export async function removeParent(name: string): Promise<void> {
  using netlink = new NetlinkSocket();
  const link = findLink(netlink, name);
  if (link !== undefined) await netlink.requestSlowly(deleteLink(link.index));
}

const kernelParts = {
  macvlan: {
    option: "CONFIG_MACVLAN",
    instead: "use a bridge network, or give the container a link of the host's by other means",
  },
  ipvlan: {
    option: "CONFIG_IPVLAN",
    instead:
      "the nearest that works here is macvlan (docker network create -d macvlan -o parent=…); its containers have MAC addresses of their own",
  },
  vlan: {
    option: "CONFIG_VLAN_8021Q",
    instead: "give a link that is there with -o parent=…, untagged or tagged elsewhere",
  },
} as const;

function missing(kind: keyof typeof kernelParts): BerthError {
  const { option, instead } = kernelParts[kind];
  return new BerthError(
    "not-implemented",
    `this kernel has no ${kind} links: ${option} is not set, and there is no module ${kind === "vlan" ? "8021q" : kind}`,
    { operation: "create network", object: kind, hint: instead },
  );
}

function refused(message: string, object: string): BerthError {
  return new BerthError("internal", message, { operation: "create network", object });
}
