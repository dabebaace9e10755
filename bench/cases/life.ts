/** The steps of a container's life over the API, one at a time and as a whole. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Case, Rig } from "../case-types.ts";
import {
  call,
  callForText,
  create,
  IMAGE,
  inParallel,
  pidOf,
  remove,
  start,
  timed,
} from "../clients/engine-api.ts";
import type { Peer } from "../peers/peer-types.ts";

const CLIENTS = 16;
/** Containers for the rate of many clients; of slower engines fewer are enough for a rate. */
const CYCLES: Readonly<Record<string, number>> = { berth: 160, dockerd: 40, podman: 40 };
const FLOOR_CYCLES = 160;
/** Ends when it is told to; the first process of a namespace hears only signals that it handles. */
const POLITE = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"];

export const LIFE_CASES: Case[] = [
  {
    name: "API create",
    unit: "ms",
    runs: 15,
    measure: async (peer) => {
      let id = "";
      const took = await timed(async () => (id = await create(peer, ["true"])));
      await remove(peer, id);
      return took;
    },
    floor: async (rig) => {
      const directory = join(rig.directory, "created");
      const took = await timed(async () => makeDirectories(directory));
      rmSync(directory, { recursive: true });
      return took;
    },
  },
  {
    name: "API start",
    unit: "ms",
    runs: 15,
    measure: async (peer) => {
      const id = await create(peer, ["sleep", "1000"]);
      const took = await timed(() => start(peer, id));
      await remove(peer, id);
      return took;
    },
    floor: async ({ launcher }) => {
      const prepared = launcher.prepare(["sleep", "1000"], { network: true });
      const took = await timed(() => launcher.launch(prepared));
      await launcher.kill(prepared);
      return took;
    },
  },
  {
    name: "API stop",
    unit: "ms",
    runs: 10,
    measure: async (peer) => {
      const id = await create(peer, POLITE);
      await start(peer, id);
      await listening(await pidOf(peer, id));
      const took = await timed(() => callForText(peer, "POST", `/containers/${id}/stop`));
      await remove(peer, id);
      return took;
    },
    floor: async ({ launcher }) => {
      const prepared = launcher.prepare(POLITE, { network: true });
      const { shim, pid } = await launcher.launch(prepared);
      await listening(pid);
      const took = await timed(async () => {
        shim.signal(15);
        await shim.exited;
      });
      await launcher.end(prepared);
      return took;
    },
  },
  {
    name: "API remove",
    unit: "ms",
    runs: 15,
    measure: async (peer) => {
      const id = await create(peer, ["true"]);
      await start(peer, id);
      await callForText(peer, "POST", `/containers/${id}/wait`);
      return await timed(() => callForText(peer, "DELETE", `/containers/${id}`));
    },
    floor: async (rig) => {
      const directory = join(rig.directory, "removed");
      makeDirectories(directory);
      return await timed(async () => rmSync(directory, { recursive: true }));
    },
  },
  {
    name: "API create to removed",
    unit: "ms",
    runs: 20,
    budget: 1 / 15,
    measure: (peer) => timed(() => cycle(peer)),
    floor: ({ launcher }) => {
      const prepared = launcher.prepare(["true"], { network: true });
      return timed(async () => {
        await launcher.launch(prepared);
        await launcher.end(prepared);
      });
    },
  },
  {
    name: `containers a second from ${CLIENTS} API clients`,
    unit: "/s",
    more: true,
    runs: 3,
    budget: 12,
    note: `create, start, wait, remove; ${CYCLES.berth} containers in a run of Berth, ${CYCLES.dockerd} in one of the others`,
    measure: async (peer) => {
      const count = CYCLES[peer.name] ?? FLOOR_CYCLES;
      const took = await timed(() => inParallel(count, CLIENTS, () => cycle(peer)));
      return count / (took / 1000);
    },
    floor: launchRate,
  },
];

async function cycle(peer: Peer): Promise<void> {
  const { Id } = (await call(peer, "POST", "/containers/create", { Image: IMAGE, Cmd: ["true"] })) as {
    Id: string;
  };
  await start(peer, Id);
  await callForText(peer, "POST", `/containers/${Id}/wait`);
  await callForText(peer, "DELETE", `/containers/${Id}`);
}

async function launchRate({ launcher }: Rig): Promise<number> {
  const all = Array.from({ length: FLOOR_CYCLES }, () => launcher.prepare(["true"], { network: true }));
  const took = await timed(() =>
    inParallel(all.length, CLIENTS, async (n) => {
      const prepared = all[n];
      if (prepared === undefined) return;
      await launcher.launch(prepared);
      await launcher.end(prepared);
    }),
  );
  return all.length / (took / 1000);
}

/** A layer as the overlay driver lays it out, and a file of one page for what is noted of the container. */
function makeDirectories(directory: string): void {
  for (const part of ["layer/diff", "layer/work", "layer/merged", "container"])
    mkdirSync(join(directory, part), { recursive: true });
  writeFileSync(join(directory, "container/record"), Buffer.alloc(4096));
}

/** Once the shell has its child it has also said what it does on a signal. */
async function listening(pid: number): Promise<void> {
  for (const limit = Date.now() + 10_000; Date.now() < limit; await sleep(5)) {
    if (readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8") !== "") return;
  }
  throw new Error("the shell in the container starts nothing");
}
