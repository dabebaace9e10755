/**
 * The daemon is killed at random moments of runs, connects, disconnects, restarts and removals. Each time it comes back
 * every address is held once, by the one container that has it: what the table of addresses says is what inspect says,
 * and what the namespaces have. In the end nobody holds any.
 *
 * KILL_SEED repeats a run's decisions (not its timing), KILL_ROUNDS says how often.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { EndpointSettings } from "#api-types/network.ts";
import { seededRandom } from "#test/chaos/known-images.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const rounds = Number(process.env.KILL_ROUNDS ?? 8);
const seed = Number(process.env.KILL_SEED ?? randomInt(2 ** 31));
/** Milliseconds after which the daemon is killed at the latest, when most work is over. */
const longestWait = 400;
/** Small, so that addresses come back soon. */
const networks = ["10.218.1.0/28", "10.218.2.0/28"].map((subnet, number) => ({ name: `n${number}`, subnet }));

const random = seededRandom(seed);
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;

let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 18 });
  // It was set up for this start: the next ones are quicker without looking whether it still is.
  process.env.BERTH_NO_SETUP = "1";
  daemon.loadBusybox();
  for (const { name, subnet } of networks) daemon.ok("network", "create", "--subnet", subnet, name);
});
after(() => daemon?.stop());

/** A request whose end may never come. */
const ask = (method: string, path: string, body?: object) =>
  daemon.api(method, path, body).then(
    () => {},
    () => {},
  );

const containers = Array.from({ length: 8 }, (_, number) => `c${number}`);
const work: readonly (() => Promise<void>)[] = [
  ...new Array<() => Promise<void>>(3).fill(async () => {
    const name = pick(containers);
    const { name: network } = pick(networks);
    const body = { Image: "berth/busybox", Cmd: ["sleep", "1000"], HostConfig: { NetworkMode: network } };
    await ask("POST", `/containers/create?name=${name}`, body);
    await ask("POST", `/containers/${name}/start`);
  }),
  () => ask("POST", `/networks/${pick(networks).name}/connect`, { Container: pick(containers) }),
  () => ask("POST", `/networks/${pick(networks).name}/disconnect`, { Container: pick(containers) }),
  () => ask("POST", `/containers/${pick(containers)}/restart?t=0`),
  () => ask("DELETE", `/containers/${pick(containers)}?force=1`),
];

interface Inspected {
  Id: string;
  Name: string;
  State: { Running: boolean; Pid: number };
  NetworkSettings: { Networks: Record<string, EndpointSettings> };
}

async function get<T>(path: string): Promise<T> {
  const { status, body } = await daemon.api("GET", path);
  assert.equal(status, 200, `${path}: ${body}`);
  return JSON.parse(body) as T;
}

/** "endpoint address" of everything that holds an address in our networks, as the table has it. */
function leases(): string[] {
  using database = new DatabaseSync(join(daemon.dataRoot, "berth.db"), { readOnly: true });
  const rows = database
    .prepare(
      `SELECT address, holder FROM network_address JOIN network ON network.id = network_id
       WHERE holder IS NOT NULL AND network.name IN (${networks.map(() => "?").join()})`,
    )
    .all(...networks.map(({ name }) => name));
  return rows.map(({ address, holder }) => `${holder} ${dotted(String(address))}`).sort();
}

function dotted(hexadecimal: string): string {
  return [...Buffer.from(hexadecimal, "hex")].join(".");
}

function addressesInside(pid: number): string[] {
  const text = execFileSync("nsenter", ["-t", String(pid), "-n", "ip", "-o", "-4", "addr", "show"], {
    encoding: "utf8",
  });
  return [...text.matchAll(/inet (10\.218\.\d+\.\d+)\//g)].map((match) => match[1] ?? "").sort();
}

async function check(): Promise<void> {
  const listed = await get<{ Id: string }[]>("/containers/json");
  const shown = await Promise.all(listed.map(({ Id }) => get<Inspected>(`/containers/${Id}/json`)));
  const running = shown.filter(({ State }) => State.Running);
  const held: string[] = [];
  const addresses: string[] = [];
  for (const { Name, State, NetworkSettings } of running) {
    const endpoints = Object.values(NetworkSettings.Networks).filter(({ IPAddress }) => IPAddress !== "");
    held.push(...endpoints.map(({ EndpointID, IPAddress }) => `${EndpointID} ${IPAddress}`));
    const own = endpoints.map(({ IPAddress }) => IPAddress).sort();
    addresses.push(...own);
    assert.deepEqual(addressesInside(State.Pid), own, `what ${Name} has inside is what it holds`);
  }
  assert.equal(new Set(addresses).size, addresses.length, `one address twice: ${addresses.join(" ")}`);
  assert.deepEqual(leases(), held.sort(), "the table is what containers hold");
  for (const { name } of networks) {
    const { Containers } = await get<{ Containers: Record<string, { EndpointID: string }> }>(
      `/networks/${name}`,
    );
    const on = running.filter(({ NetworkSettings }) => NetworkSettings.Networks[name]?.IPAddress);
    assert.deepEqual(Object.keys(Containers).sort(), on.map(({ Id }) => Id).sort(), `who is on ${name}`);
  }
}

test(`killed ${rounds} times amid runs, connects and removals (KILL_SEED=${seed})`, async () => {
  for (let round = 0; round < rounds; round++) {
    const going = Array.from({ length: 12 }, () => pick(work)());
    await sleep(random() * longestWait);
    await daemon.kill("SIGKILL");
    await Promise.all(going);
    await daemon.boot();
    await eventually(check);
  }
  const left = daemon.ok("ps", "-aq").split("\n").filter(Boolean);
  if (left.length > 0) daemon.ok("rm", "-f", ...left);
  await eventually(() => assert.deepEqual(leases(), []));
  // Nothing was lost: every address of a subnet can be had at once.
  const [first] = networks;
  const full = Array.from({ length: 13 }, (_, number) =>
    daemon.dockerAsync(
      "run",
      "-d",
      "--name",
      `f${number}`,
      "--network",
      first?.name ?? "",
      "berth/busybox",
      "sleep",
      "1000",
    ),
  );
  for (const { code, stderr } of await Promise.all(full)) assert.equal(code, 0, stderr);
  assert.equal(new Set(leases().map((line) => line.split(" ")[1])).size, 13);
  assert.match(
    daemon.refused("run", "--network", first?.name ?? "", "berth/busybox", "true"),
    /^no available IPv4 addresses on this network's address pools: n0 \(/m,
  );
});

test("a network that was being removed when the daemon was killed is gone with the next one", async () => {
  const id = daemon.ok("network", "create", "going");
  const link = `/sys/class/net/br-${id.slice(0, 12)}`;
  assert.ok(existsSync(link));
  await daemon.kill("SIGKILL");
  const rows = <T>(work: (database: DatabaseSync) => T): T => {
    using database = new DatabaseSync(join(daemon.dataRoot, "berth.db"));
    return work(database);
  };
  rows((database) =>
    database.exec(
      "UPDATE network SET config = json_set(config, '$.leaving', json('true')) WHERE name = 'going'",
    ),
  );
  await daemon.boot();
  assert.match(daemon.refused("network", "inspect", "going"), /network going not found/);
  assert.ok(!existsSync(link));
  assert.equal(
    rows((database) => database.prepare("SELECT * FROM network WHERE name = 'going'").get()),
    undefined,
  );
  // Its name is free.
  daemon.ok("network", "create", "going");
  daemon.ok("network", "rm", "going");
});
