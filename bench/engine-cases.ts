/** Containers and execs over the API, and lists and starts of very many. */
import type { Case } from "./cases.ts";
import { call, docker, hijacked, IMAGE, timed } from "./cases.ts";
import type { Peer } from "./peer.ts";

/** How many a long list has, and how many are up at once. */
const MANY_LISTED = 1000;
const MANY_RUNNING = 500;
/** Requests under way at a time. */
const AT_ONCE = 16;
/** Debian's dockerd needs a quarter of a second for each start: it is measured on fewer, and taken as many times. */
const DOCKERD_SHARE = 10;

export const ENGINE_CASES: Case[] = [
  {
    name: "API exec: create, start, output, inspect",
    unit: "ms",
    runs: 30,
    budget: 1 / 5,
    prepare: sleeper,
    measure: (peer) => timed(() => execute(peer)),
  },
  {
    name: "docker exec true",
    unit: "ms",
    runs: 20,
    budget: 0.45,
    prepare: sleeper,
    measure: (peer) => timed(() => docker(peer, "exec", "bench-sleeper", "true")),
  },
  {
    name: "API stats of one container, one shot",
    unit: "ms",
    runs: 15,
    budget: 1,
    prepare: sleeper,
    measure: (peer) =>
      timed(() => call(peer, "GET", "/containers/bench-sleeper/stats?stream=false&one-shot=true")),
  },
  {
    name: "API inspect of a container",
    unit: "ms",
    runs: 15,
    prepare: sleeper,
    measure: (peer) => timed(() => call(peer, "GET", "/containers/bench-sleeper/json")),
  },
  {
    name: `docker ps -a with ${MANY_LISTED} containers`,
    unit: "ms",
    runs: 10,
    budget: 1 / 2,
    prepare: (peer) => manyCreated(peer, MANY_LISTED),
    measure: (peer) => timed(() => docker(peer, "ps", "-a")),
  },
  {
    name: `API list of ${MANY_LISTED} containers`,
    unit: "ms",
    runs: 10,
    budget: 1 / 2,
    prepare: (peer) => manyCreated(peer, MANY_LISTED),
    measure: (peer) => timed(() => call(peer, "GET", "/containers/json?all=1")),
  },
  {
    name: `${MANY_RUNNING} containers created and started at once`,
    unit: "ms",
    runs: 1,
    budget: 1 / 4,
    measure: manyUp,
  },
];

async function sleeper(peer: Peer): Promise<() => Promise<void>> {
  await docker(peer, "run", "-d", "--name", "bench-sleeper", IMAGE, "sleep", "1000");
  return async () => void (await docker(peer, "rm", "-f", "bench-sleeper"));
}

async function execute(peer: Peer): Promise<void> {
  const body = { AttachStdout: true, AttachStderr: true, Cmd: ["echo", "said"] };
  const { Id } = (await call(peer, "POST", "/containers/bench-sleeper/exec", body)) as { Id: string };
  const output = await hijacked(peer, `/exec/${Id}/start`, { Detach: false, Tty: false });
  const { ExitCode } = (await call(peer, "GET", `/exec/${Id}/json`)) as { ExitCode: number };
  if (ExitCode !== 0 || !output.includes("said")) throw new Error(`exec: ${ExitCode}, ${output}`);
}

async function manyCreated(peer: Peer, count: number): Promise<() => Promise<void>> {
  const ids = await inParallel(count, async () => {
    const body = { Image: IMAGE, Cmd: ["true"] };
    return ((await call(peer, "POST", "/containers/create", body)) as { Id: string }).Id;
  });
  return async () => void (await inParallel(count, (n) => call(peer, "DELETE", `/containers/${ids[n]}`)));
}

/** For so many, ms; on the slower engine it is worked out from a share of them. */
async function manyUp(peer: Peer): Promise<number> {
  const share = peer.name === "berth" ? 1 : DOCKERD_SHARE;
  const ids: string[] = [];
  const took = await timed(() =>
    inParallel(MANY_RUNNING / share, async () => {
      const body = { Image: IMAGE, Cmd: ["sleep", "1000"] };
      const { Id } = (await call(peer, "POST", "/containers/create", body)) as { Id: string };
      ids.push(Id);
      await call(peer, "POST", `/containers/${Id}/start`);
    }),
  );
  const running = (await call(peer, "GET", "/containers/json")) as unknown[];
  await inParallel(ids.length, (n) => call(peer, "DELETE", `/containers/${ids[n]}?force=1`));
  if (running.length !== MANY_RUNNING / share) throw new Error(`${running.length} are up`);
  return took * share;
}

/** Does it `count` times, some at a time; answers what came of each. */
async function inParallel<T>(count: number, work: (n: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const n = next++;
      results[n] = await work(n);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}
