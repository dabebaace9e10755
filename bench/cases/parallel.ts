/** Containers that are there already, started all at once. */
import type { Case } from "../case-types.ts";
import { call, create, inParallel, remove, start, timed } from "../clients/engine-api.ts";
import type { Peer } from "../peers/peer-types.ts";

const PLENTY = 500;
/** The others need a quarter of a second for each: they start a share of them, and it is taken as many times. */
const SHARE = 10;
/** Launches under way at a time: more only get into each other's way in the kernel. */
const FLOOR_AT_ONCE = 8;

export const PARALLEL_CASES: Case[] = [
  ...[
    { count: 1, runs: 10 },
    { count: 10, runs: 5 },
    { count: 100, runs: 2 },
  ].map(
    ({ count, runs }): Case => ({
      name: `API start of ${count} at once`,
      unit: "ms",
      runs,
      measure: (peer) => startAtOnce(peer, count),
      floor: async ({ launcher }) => {
        const all = Array.from({ length: count }, () =>
          launcher.prepare(["sleep", "1000"], { network: true }),
        );
        const took = await timed(() =>
          inParallel(count, FLOOR_AT_ONCE, async (n) => void (all[n] && (await launcher.launch(all[n])))),
        );
        await Promise.all(all.map((prepared) => launcher.kill(prepared)));
        return took;
      },
    }),
  ),
  {
    name: `${PLENTY} created and started by 16 clients`,
    unit: "ms",
    runs: 1,
    budget: 1 / 4,
    note: `dockerd and podman: ${PLENTY / SHARE} of them, times ${SHARE}`,
    measure: plentyUp,
  },
];

async function startAtOnce(peer: Peer, count: number): Promise<number> {
  const ids = await inParallel(count, 8, () => create(peer, ["sleep", "1000"]));
  try {
    return await timed(() => inParallel(count, count, (n) => start(peer, ids[n] ?? "")));
  } finally {
    await removeAll(peer, ids);
  }
}

async function plentyUp(peer: Peer): Promise<number> {
  const share = peer.name === "berth" ? 1 : SHARE;
  const ids: string[] = [];
  try {
    const took = await timed(() =>
      inParallel(PLENTY / share, 16, async () => {
        const id = await create(peer, ["sleep", "1000"]);
        ids.push(id);
        await start(peer, id);
      }),
    );
    const running = (await call(peer, "GET", "/containers/json")) as unknown[];
    if (running.length !== PLENTY / share) throw new Error(`${running.length} are up`);
    return took * share;
  } finally {
    await removeAll(peer, ids);
  }
}

/** All of them, some at a time. */
export async function removeAll(peer: Peer, ids: readonly string[]): Promise<void> {
  await inParallel(ids.length, 16, (n) => remove(peer, ids[n] ?? ""));
}
