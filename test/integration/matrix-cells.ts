/**
 * What Docker gives in every kind of network, family of addresses and direction: as whom the asked one sees the asking
 * one, or how the question fails. Data only; TCP and UDP have the same fate everywhere.
 */

/** Who is seen, by whose address it is; or why nothing is. */
export type Outcome =
  /** The asking container's own address. */
  | "container"
  /** The address of the network's gateway, which is the host's on the bridge. */
  | "gateway"
  /** The host's address towards its neighbours. */
  | "host"
  /** The neighbour's own address: kept. */
  | "neighbour"
  /** 127.0.0.1 or ::1. */
  | "loopback"
  /** Answered by a refusal. */
  | "refused"
  /** Not answered. */
  | "silent"
  /** The asking one has no way there. */
  | "no route"
  /** There is nothing of this family to be asked. */
  | "-";

/** Over IPv4, over IPv6. */
export type Fate = readonly [Outcome, Outcome];

export type Kind =
  | "default bridge"
  | "user bridge"
  | "internal"
  | "macvlan"
  | "host"
  | "none"
  | "container"
  | "bridge without icc";
export type Family = "v4" | "v6" | "dual";

export interface Row {
  kind: Kind;
  family: Family;
  /** A container asks another on the same network. */
  between: Fate;
  /** The host asks the container by its own address. */
  fromHost: Fate;
  /** The host asks the published port on its loopback. */
  loopback: Fate;
  /** A neighbour of the host asks the published port at the host's address. */
  published: Fate;
  /** A neighbour asks the container by its own address, with a route through the host. */
  direct: Fate;
  /** A container asks a neighbour of the host. */
  outward: Fate;
}

export const DIRECTIONS = ["between", "fromHost", "loopback", "published", "direct", "outward"] as const;
export type Direction = (typeof DIRECTIONS)[number];

/**
 * Ports of a network without IPv6 are open on the host's IPv6 addresses by the port proxy, which asks from the gateway;
 * the other way round there is none. A v6-only default bridge is not to be had.
 */
const bridge4: Omit<Row, "kind" | "family"> = {
  between: ["container", "-"],
  fromHost: ["gateway", "-"],
  loopback: ["gateway", "gateway"],
  published: ["neighbour", "gateway"],
  direct: ["silent", "-"],
  outward: ["host", "no route"],
};
const bridge6: Omit<Row, "kind" | "family"> = {
  between: ["-", "container"],
  fromHost: ["-", "gateway"],
  loopback: ["refused", "gateway"],
  published: ["refused", "neighbour"],
  direct: ["-", "silent"],
  outward: ["no route", "host"],
};
const dual: Omit<Row, "kind" | "family"> = {
  between: ["container", "container"],
  fromHost: ["gateway", "gateway"],
  // There is no route_localnet for IPv6: ::1 is the proxy's.
  loopback: ["gateway", "gateway"],
  published: ["neighbour", "neighbour"],
  direct: ["silent", "silent"],
  outward: ["host", "host"],
};

/** An internal network has the host on it, but no way through it: neither ports nor a default route. */
const sealed = { loopback: ["refused", "refused"], published: ["refused", "refused"] } as const;

/** A macvlan's containers are neighbours themselves. The kernel keeps them from the host they run on; ports are not published. */
const onLan = { loopback: ["refused", "refused"], published: ["refused", "refused"] } as const;

/** With containers of one network kept apart, each is as reachable as before for everybody else. */
const apart = { between: ["silent", "silent"] } as const;

export const MATRIX: readonly Row[] = [
  { kind: "default bridge", family: "v4", ...bridge4 },
  { kind: "default bridge", family: "dual", ...dual },

  { kind: "user bridge", family: "v4", ...bridge4 },
  { kind: "user bridge", family: "v6", ...bridge6 },
  { kind: "user bridge", family: "dual", ...dual },

  { kind: "internal", family: "v4", ...bridge4, ...sealed, outward: ["no route", "no route"] },
  { kind: "internal", family: "v6", ...bridge6, ...sealed, outward: ["no route", "no route"] },
  { kind: "internal", family: "dual", ...dual, ...sealed, outward: ["no route", "no route"] },

  {
    kind: "macvlan",
    family: "v4",
    ...onLan,
    between: ["container", "-"],
    fromHost: ["silent", "-"],
    direct: ["neighbour", "-"],
    outward: ["container", "no route"],
  },
  {
    kind: "macvlan",
    family: "v6",
    ...onLan,
    between: ["-", "container"],
    fromHost: ["-", "silent"],
    direct: ["-", "neighbour"],
    outward: ["no route", "container"],
  },
  {
    kind: "macvlan",
    family: "dual",
    ...onLan,
    between: ["container", "container"],
    fromHost: ["silent", "silent"],
    direct: ["neighbour", "neighbour"],
    outward: ["container", "container"],
  },

  // The host's own network: whatever listens is the host's, and ports are its own.
  {
    kind: "host",
    family: "dual",
    between: ["loopback", "loopback"],
    fromHost: ["host", "host"],
    loopback: ["loopback", "loopback"],
    published: ["neighbour", "neighbour"],
    direct: ["neighbour", "neighbour"],
    outward: ["host", "host"],
  },
  {
    kind: "none",
    family: "dual",
    between: ["-", "-"],
    fromHost: ["-", "-"],
    loopback: ["refused", "refused"],
    published: ["refused", "refused"],
    direct: ["-", "-"],
    outward: ["no route", "no route"],
  },

  // Who joins another's network is that other, and has one loopback with it.
  { kind: "container", family: "v4", ...bridge4, between: ["loopback", "loopback"] },
  { kind: "container", family: "v6", ...bridge6, between: ["loopback", "loopback"] },
  { kind: "container", family: "dual", ...dual, between: ["loopback", "loopback"] },

  { kind: "bridge without icc", family: "dual", ...dual, ...apart },
];
