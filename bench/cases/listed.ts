/** With containers that are there and do not run: lists of them, and the start of a daemon that has to know them. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Case, Rig, Undo } from "../case-types.ts";
import { cli, runClient } from "../clients/command-line.ts";
import { callForText, create, inParallel, timed } from "../clients/engine-api.ts";
import { BareEngine } from "../floors/bare-engine.ts";
import type { Peer } from "../peers/peer-types.ts";
import { pssOf } from "../peers/processes.ts";
import { removeAll } from "./parallel.ts";

export const HUNDRED = 100;
export const THOUSAND = 1000;
const LIST = "/containers/json?all=1";
const STARTS = 5;

/** The last list Berth gave, and the first case asks for one: what the floors answer with. */
let text = "[]";

export const IDLE_CASES: Case[] = [
  {
    name: "memory of the idle daemon (PSS)",
    unit: "MiB",
    runs: 1,
    budget: 1,
    note: "podman has no daemon: its figure is the API service's, which runs only for those who want an API",
    why: "berthd is a Node program with its worker threads; an engine without a daemon keeps only its API service",
    measure: async (peer) => pssOf(peer.daemonProcesses()) / 1024,
    floor: () => emptyNode(async (pid) => pssOf([pid]) / 1024),
  },
  ...startCases(0),
];

export const HUNDRED_CASES: Case[] = startCases(HUNDRED);

export const THOUSAND_CASES: Case[] = [
  {
    name: `API list of ${THOUSAND} containers`,
    unit: "ms",
    runs: 10,
    budget: 1 / 2,
    measure: (peer) =>
      timed(async () => {
        const list = await callForText(peer, "GET", LIST);
        if (peer.name === "berth") text = list;
      }),
    floor: async (rig) => {
      await using engine = await listingEngine(rig);
      await callForText(engine, "GET", "/_ping");
      return await timed(() => callForText(engine, "GET", LIST));
    },
  },
  {
    name: `ps -a with ${THOUSAND} containers`,
    unit: "ms",
    runs: 10,
    budget: 1 / 2,
    measure: (peer) => timed(() => cli(peer, "ps", "-a")),
    floor: async (rig) => {
      await using engine = await listingEngine(rig);
      return await timed(() => runClient(engine.client, "ps", "-a"));
    },
  },
  ...startCases(THOUSAND, 3),
];

function startCases(count: number, runs = STARTS): Case[] {
  const why =
    "podman's service reads its containers when it is asked for them, and has nothing to restore or look after";
  // One start answers both questions.
  const lists = new Map<string, number[]>();
  const restart = async (peer: Peer): Promise<{ answer: number; list: number }> => {
    await peer.halt();
    const begun = performance.now();
    await peer.boot();
    const answer = performance.now() - begun;
    const there = (JSON.parse(await callForText(peer, "GET", LIST)) as unknown[]).length;
    const list = performance.now() - begun;
    if (there !== count) throw new Error(`${there} containers of ${count} after its start`);
    return { answer, list };
  };
  return [
    {
      name: `daemon start with ${count} containers, to its first answer`,
      unit: "ms",
      runs,
      why,
      measure: async (peer) => {
        const { answer, list } = await restart(peer);
        lists.set(peer.name, [...(lists.get(peer.name) ?? []), list]);
        return answer;
      },
      floor: () => emptyNodeStart(),
    },
    {
      name: `daemon start with ${count} containers, to a list of them`,
      unit: "ms",
      runs,
      why,
      measure: async (peer) => lists.get(peer.name)?.shift() ?? (await restart(peer)).list,
    },
  ];
}

export function manyCreated(count: number): (peer: Peer) => Promise<Undo> {
  return async (peer) => {
    const ids: string[] = [];
    const undo = () => removeAll(peer, ids);
    try {
      await inParallel(count, 16, async () => void ids.push(await create(peer, ["true"])));
      return undo;
    } catch (error) {
      await undo();
      throw error;
    }
  };
}

function listingEngine(rig: Rig): Promise<BareEngine> {
  return BareEngine.start(join(rig.directory, "bare.sock"), { answers: { "/containers/json": text } });
}

/** A Node program that does nothing but wait on a socket: what any daemon in Node has. */
async function emptyNode(measure: (pid: number) => Promise<number>): Promise<number> {
  const script = `require("node:http").createServer().listen(0, "127.0.0.1", () => console.log("up"))`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await once(child.stdout, "data");
    return await measure(child.pid ?? 0);
  } finally {
    child.kill("SIGKILL");
  }
}

async function emptyNodeStart(): Promise<number> {
  const begun = performance.now();
  return await emptyNode(async () => performance.now() - begun);
}
