/** Whole command lines: what a start of the client costs, and a container from the shell's point of view. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Case, Rig } from "../case-types.ts";
import { cli, clientsAtOnce, runClient } from "../clients/command-line.ts";
import { IMAGE, timed } from "../clients/engine-api.ts";
import { BareEngine } from "../floors/bare-engine.ts";

const run = promisify(execFile);

export const COMMAND_LINE_CASES: Case[] = [
  ...["version", "ps"].map(
    (verb): Case => ({
      name: `cold command line: ${verb}`,
      unit: "ms",
      runs: 10,
      note: "berth's own command line beside docker's and podman's; every other row gives docker's to Berth and dockerd",
      why: "berth is a Node program, and Node alone takes longer to start than a compiled program",
      measure: (peer) => timed(() => runClient(peer.ownClient, verb)),
      floor: () => timed(() => run("busybox", ["true"])),
    }),
  ),
  {
    name: "run --rm true, bridge",
    unit: "ms",
    runs: 15,
    budget: 1 / 7,
    measure: (peer) => timed(() => cli(peer, "run", "--rm", IMAGE, "true")),
    floor: (rig) => bareRun(rig, true),
  },
  {
    name: "run --rm true, no network",
    unit: "ms",
    runs: 10,
    measure: (peer) => timed(() => cli(peer, "run", "--rm", "--network", "none", IMAGE, "true")),
    floor: (rig) => bareRun(rig, false),
  },
  {
    name: "twenty run --rm true at once",
    unit: "ms",
    runs: 3,
    budget: 1 / 6,
    measure: (peer) => timed(() => clientsAtOnce(peer, 20, "run", "--rm", IMAGE, "true")),
  },
];

/** Docker's command line before an API that does nothing but execute the container's program. */
async function bareRun({ launcher, directory }: Rig, network: boolean): Promise<number> {
  const prepared = launcher.prepare(["true"], { network });
  const work = async () => void (await launcher.launch(prepared)).shim;
  await using engine = await BareEngine.start(join(directory, "bare.sock"), {
    run: async () => {
      await work();
      await launcher.end(prepared);
    },
  });
  return await timed(() => runClient(engine.client, "run", "--rm", IMAGE, "true"));
}
