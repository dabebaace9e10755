/** What a network and a published port cost a container's start, alone and with many others on the same bridge. */
import { NETLINK_NETFILTER, NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { verdict } from "#kernel/netlink/nftables-expressions.ts";
import { batch, deleteTable, newChain, newRule, newTable } from "#kernel/netlink/nftables-messages.ts";
import type { Case, Rig } from "../case-types.ts";
import { create, remove, start, timed } from "../clients/engine-api.ts";
import type { Peer } from "../peers/peer-types.ts";
import { median } from "../statistics.ts";
import { published } from "./traffic.ts";

/** Containers on one bridge, started one after the other, and how many of them are the first and the last. */
const MANY = Number(process.env.BENCH_MANY ?? 150);
const FEW = Math.min(30, MANY);
const NFPROTO_IPV4 = 2;
const SLEEP = ["sleep", "3600"];

export const PORT_CASES: Case[] = [
  {
    name: "API start: what a bridge and a published port add",
    unit: "ms",
    runs: 15,
    budget: 1 / 4,
    measure: publishingCost,
    floor: bareCost,
  },
  {
    name: `API start of one of the first ${FEW} on a bridge, with a port`,
    unit: "ms",
    runs: 1,
    measure: async (peer) => median((await manyStarts(peer)).slice(0, FEW)),
  },
  {
    name: `API start of one of the last ${FEW} of ${MANY}`,
    unit: "ms",
    runs: 1,
    measure: async (peer) => median((await manyStarts(peer)).slice(-FEW)),
  },
];

/** A start with a bridge and a port less one without any network, ms. */
async function publishingCost(peer: Peer): Promise<number> {
  const without = await oneStart(peer, { HostConfig: { NetworkMode: "none" } });
  return (await oneStart(peer, published())) - without;
}

async function oneStart(peer: Peer, options: Parameters<typeof create>[2]): Promise<number> {
  const id = await create(peer, SLEEP, options);
  try {
    return await timed(() => start(peer, id));
  } finally {
    await remove(peer, id);
  }
}

/** The same of the launcher, and the kernel's time for one more rule. */
async function bareCost({ launcher }: Rig): Promise<number> {
  const launched = async (network: boolean) => {
    const prepared = launcher.prepare(SLEEP, { network });
    const took = await timed(() => launcher.launch(prepared));
    await launcher.kill(prepared);
    return took;
  };
  const without = await launched(false);
  return (await launched(true)) - without + ruleCommit();
}

/** Of a rule in a chain that nothing leads to, ms. */
function ruleCommit(): number {
  const table = `berth-bench-${process.pid}`;
  using netfilter = new NetlinkSocket(NETLINK_NETFILTER);
  const commit = (...messages: Parameters<typeof batch>[0]) => {
    const errno = netfilter.tryBatch(batch(messages));
    if (errno !== 0) throw new Error(`nf_tables: errno ${errno}`);
  };
  commit(newTable(NFPROTO_IPV4, table), newChain(NFPROTO_IPV4, table, "ports"));
  try {
    const begun = performance.now();
    commit(newRule(NFPROTO_IPV4, table, "ports", [verdict("accept")]));
    return performance.now() - begun;
  } finally {
    commit(deleteTable(NFPROTO_IPV4, table));
  }
}

const starts = new Map<string, Promise<number[]>>();

/** The starts of many containers on the default bridge, one after the other, each with a port; measured once. */
function manyStarts(peer: Peer): Promise<number[]> {
  const known = starts.get(peer.name) ?? startMany(peer);
  starts.set(peer.name, known);
  return known;
}

async function startMany(peer: Peer): Promise<number[]> {
  const ids: string[] = [];
  try {
    const took: number[] = [];
    for (let n = 0; n < MANY; n++) {
      const id = await create(peer, SLEEP, published());
      ids.push(id);
      took.push(await timed(() => start(peer, id)));
    }
    return took;
  } finally {
    for (const id of ids) await remove(peer, id);
  }
}
