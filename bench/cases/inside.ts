/** What is asked of a container that runs: further processes, its streams, its figures. */
import type { Socket } from "node:net";
import { join } from "node:path";
import type { Case, Rig, Undo } from "../case-types.ts";
import { cli, runClient } from "../clients/command-line.ts";
import { call, callForText, create, hijacked, remove, start, timed, upgrade } from "../clients/engine-api.ts";
import { BareEngine } from "../floors/bare-engine.ts";
import { readCounters } from "../floors/counters.ts";
import type { Peer } from "../peers/peer-types.ts";

const NAME = "bench-sleeper";
/** Bytes there and back in one run, one after the other. */
const ROUND_TRIPS = 200;
/** A byte and the head of its frame. */
const FRAME = 9;

export const INSIDE_CASES: Case[] = [
  {
    name: "API exec: create, start, output, inspect",
    unit: "ms",
    runs: 20,
    budget: 1 / 6,
    measure: (peer) => timed(() => execute(peer)),
    floor: (rig) => bareExec(rig, timed),
  },
  {
    name: "exec true",
    unit: "ms",
    runs: 15,
    budget: 0.45,
    measure: (peer) => timed(() => cli(peer, "exec", NAME, "true")),
    floor: (rig) =>
      bareExec(rig, async (run) => {
        await using engine = await BareEngine.start(join(rig.directory, "bare.sock"), { run });
        return await timed(() => runClient(engine.client, "exec", NAME, "true"));
      }),
  },
  {
    name: `a byte into an attached cat and back, ${ROUND_TRIPS} times`,
    unit: "ms",
    runs: 10,
    why: "each byte passes the shim on its way in and out, which keeps a container's streams when its daemon is killed; dockerd holds the ends of the pipes itself",
    measure: attached,
    floor: bareAttach,
  },
  {
    name: "API stats of one container, one shot",
    unit: "ms",
    runs: 15,
    budget: 1,
    measure: (peer) =>
      timed(() => callForText(peer, "GET", `/containers/${NAME}/stats?stream=false&one-shot=true`)),
    floor: (rig) => bareStats(rig),
  },
  {
    name: "API inspect of a container",
    unit: "ms",
    runs: 15,
    why: "after a pause Node's HTTP server takes about a millisecond for any answer, whatever is asked",
    measure: (peer) => timed(() => callForText(peer, "GET", `/containers/${NAME}/json`)),
    floor: async (rig) => {
      await using engine = await BareEngine.start(join(rig.directory, "bare.sock"), {});
      await callForText(engine, "GET", "/_ping");
      return await timed(() => callForText(engine, "GET", `/containers/${NAME}/json`));
    },
  },
];

/** The container that all of them are about. */
export async function sleeper(peer: Peer): Promise<Undo> {
  const id = await create(peer, ["sleep", "10000"], { name: NAME });
  await start(peer, id);
  return () => remove(peer, id);
}

async function execute(peer: Peer): Promise<void> {
  const body = { AttachStdout: true, AttachStderr: true, Cmd: ["echo", "said"] };
  const { Id } = (await call(peer, "POST", `/containers/${NAME}/exec`, body)) as { Id: string };
  const output = await hijacked(peer, `/exec/${Id}/start`, { Detach: false, Tty: false });
  const { ExitCode } = (await call(peer, "GET", `/exec/${Id}/json`)) as { ExitCode: number };
  if (ExitCode !== 0 || !output.includes("said")) throw new Error(`exec: ${ExitCode}, ${output}`);
}

/** A program executed in a container of the launcher's; `work` runs and times it. */
async function bareExec(
  { launcher }: Rig,
  work: (run: () => Promise<void>) => Promise<number>,
): Promise<number> {
  const container = launcher.prepare(["sleep", "1000"], { network: true });
  const { pid } = await launcher.launch(container);
  try {
    const run = launcher.prepareExec(container, pid, ["true"]);
    return await work(run);
  } finally {
    await launcher.kill(container);
  }
}

async function attached(peer: Peer): Promise<number> {
  const streams = {
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: false,
    OpenStdin: true,
    StdinOnce: false,
  };
  const id = await create(peer, ["cat"], { body: streams });
  try {
    await start(peer, id);
    const { socket } = await upgrade(peer, `/containers/${id}/attach?stream=1&stdin=1&stdout=1`);
    return await echoes(socket);
  } finally {
    await remove(peer, id);
  }
}

/** The shim's own attach socket. */
async function bareAttach({ launcher }: Rig): Promise<number> {
  const prepared = launcher.prepare(["cat"], { stdio: { openStdin: true } });
  await launcher.launch(prepared);
  try {
    return await echoes(await launcher.attach(prepared, { stdin: true, stdout: true, stderr: false }));
  } finally {
    await launcher.kill(prepared);
  }
}

/** Sends a byte when the one before has come back, in a frame of Docker's; until as many as there are to be have. */
async function echoes(socket: Socket): Promise<number> {
  let heard = 0;
  let closed = false;
  let wake = () => {};
  socket.on("data", (chunk: Buffer) => {
    heard += chunk.length;
    wake();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    closed = true;
    wake();
  });
  try {
    return await timed(async () => {
      for (let sent = 1; sent <= ROUND_TRIPS; sent++) {
        socket.write("x");
        while (heard < sent * FRAME) {
          if (closed) throw new Error("the attached stream ended");
          await new Promise<void>((resolve) => (wake = resolve));
        }
      }
    });
  } finally {
    socket.destroy();
  }
}

/** The counters of one container, read from where the kernel has them. */
async function bareStats({ launcher }: Rig): Promise<number> {
  const prepared = launcher.prepare(["sleep", "1000"], { network: true });
  const { pid } = await launcher.launch(prepared);
  try {
    return await timed(async () => readCounters(launcher.groupsOf(prepared), pid));
  } finally {
    await launcher.kill(prepared);
  }
}
