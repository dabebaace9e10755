/** The engines of a group of cases, started together with the image in them, and their cases measured. */
import { join } from "node:path";
import type { Group, Rig, Undo } from "./case-types.ts";
import { cli } from "./clients/command-line.ts";
import { IMAGE } from "./clients/engine-api.ts";
import { checkInterrupted, unlessInterrupted } from "./interruption.ts";
import { measureCase, reasonOf } from "./measure.ts";
import { BenchHost } from "./peers/bench-host.ts";
import type { Peer } from "./peers/peer-types.ts";
import type { Row } from "./rows.ts";

export type StartPeer = (directory: string, host?: BenchHost) => Promise<Peer>;

export interface Setting {
  rig: Rig;
  /** Berth first. */
  starters: Readonly<Record<string, StartPeer>>;
  /** Peers that are not here, and why. */
  absent: Readonly<Record<string, string>>;
  directory: string;
  /** The archive of the image's only layer. */
  archive: string;
  /** Only cases with this in their names. */
  only: string;
  /** Told after every case. */
  measured(row: Row): void;
}

let rooms = 0;

const nothing = async () => undefined;

/** All cases of the groups, which share engines just started; what they started is gone at the end, however that comes. */
export async function benchGroups(groups: readonly Group[], setting: Setting): Promise<void> {
  const wanted = groups
    .map((group) => ({ ...group, cases: group.cases.filter(({ name }) => name.includes(setting.only)) }))
    .filter(({ cases }) => cases.length > 0);
  if (wanted.length === 0) return;
  const alone = wanted.some((group) => group.alone);
  const room = join(setting.directory, `e${rooms++}`);
  const peers: Peer[] = [];
  const hosts: BenchHost[] = [];
  try {
    const absent: Record<string, string> = { ...setting.absent };
    for (const [name, start] of Object.entries(setting.starters)) {
      const host = alone ? await BenchHost.make() : undefined;
      if (host !== undefined) hosts.push(host);
      try {
        const peer = await start(join(room, name), host);
        peers.push(peer);
        await importImage(peer, setting.archive);
      } catch (error) {
        checkInterrupted();
        if (name === "berth") throw error;
        console.error(`bench: without ${name}: ${error instanceof Error ? error.message : error}`);
        absent[name] = reasonOf(error);
        await peers.find((peer) => peer.name === name)?.stop();
        peers.splice(0, peers.length, ...peers.filter((peer) => peer.name !== name));
      }
    }
    for (const group of wanted) await benchGroup(group, peers, absent, setting);
  } finally {
    for (const peer of peers.toReversed())
      await peer.stop().catch((error) => console.error(`bench: ${peer.name}: ${error}`));
    for (const host of hosts) host.end();
  }
}

async function importImage(peer: Peer, archive: string): Promise<void> {
  await cli(peer, "import", "-c", "ENV PATH=/bin", archive, IMAGE);
}

async function benchGroup(
  group: Group,
  peers: readonly Peer[],
  absent: Readonly<Record<string, string>>,
  setting: Setting,
): Promise<void> {
  const undo: Undo[] = [];
  const missing: Record<string, string> = { ...absent };
  const ready: Peer[] = [];
  try {
    for (const peer of peers) {
      try {
        if (group.prepare !== undefined) console.error(`bench: ${group.title}: making ready ${peer.name} …`);
        undo.push((await unlessInterrupted(group.prepare?.(peer) ?? nothing())) ?? nothing);
        ready.push(peer);
      } catch (error) {
        checkInterrupted();
        console.error(`bench: ${group.title}: ${peer.name}: ${error}`);
        missing[peer.name] = reasonOf(error);
      }
    }
    for (const bench of group.cases) {
      console.error(`bench: ${bench.name} …`);
      const begun = performance.now();
      const row = await measureCase(group.title, bench, ready, setting.rig);
      console.error(`bench:   ${((performance.now() - begun) / 1000).toFixed(0)} s`);
      setting.measured({ ...row, missing: { ...missing, ...row.missing } });
    }
  } finally {
    for (const one of undo) await one().catch((error) => console.error(`bench: ${group.title}: ${error}`));
  }
}
