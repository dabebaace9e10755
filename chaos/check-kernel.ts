/** What the kernel says, beside what the daemon tells: addresses, rules, control groups, processes, mounts. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ContainerInspect, ContainerSummary } from "#api-types/container.ts";
import type { TestDaemon } from "#test/fixtures/daemon.ts";
import type { Witness } from "./check-containers.ts";
import { describeShim, processes, shimsOf } from "./processes.ts";
import { wrongForLong } from "./soon.ts";

const CGROUPS = "/sys/fs/cgroup";

interface SeenLink {
  ifname: string;
  addr_info: { family: string; local: string }[];
}

/** Everything that a running container has, once; and nothing of one that does not run. */
export async function checkKernel(witness: Witness, daemon: TestDaemon): Promise<void> {
  const wrong = await wrongForLong(async () => {
    const found: string[] = [];
    await look({ ...witness, violation: (text) => found.push(text) }, daemon);
    return found;
  });
  for (const one of wrong) witness.violation(one);
}

async function look(witness: Witness, daemon: TestDaemon): Promise<void> {
  const listed = await witness.clients.get<ContainerSummary[]>("/containers/json?all=1");
  const running: ContainerInspect[] = [];
  for (const { Id } of listed.filter(({ State }) => State === "running" || State === "paused")) {
    const seen = await witness.clients.ask("GET", `/containers/${Id}/json`);
    if (seen.status === 200) running.push(JSON.parse(seen.body) as ContainerInspect);
  }
  const steady = running.filter(({ State }) => State.Running && !State.Restarting && State.Pid > 0);
  checkAddresses(witness, steady);
  checkRules(witness, steady);
  checkCgroups(witness, steady, new Set(listed.map(({ Id }) => Id)));
  checkShims(witness, daemon, steady);
}

function checkAddresses({ ledger, violation }: Witness, running: readonly ContainerInspect[]): void {
  const owners = new Map<string, string>();
  for (const { Name, State, NetworkSettings } of running) {
    const links = linksOf(State.Pid);
    if (links === undefined) continue; // It ended just now.
    const own = ledger.containers.get(Name.slice(1));
    const held = links.flatMap(({ addr_info }) => addr_info).map(({ local }) => local);
    for (const address of held.filter((one) => one !== "127.0.0.1" && !one.includes(":"))) {
      const other = owners.get(address);
      if (other !== undefined) violation(`${Name} and ${other} both have the address ${address}`);
      owners.set(address, Name);
    }
    for (const [network, { IPAddress }] of Object.entries(NetworkSettings.Networks)) {
      if (IPAddress === "" || held.includes(IPAddress) || own?.cutOff) continue;
      violation(`${Name} should have ${IPAddress} in ${network} and has ${held.join(" ")}`);
    }
  }
}

function linksOf(pid: number): SeenLink[] | undefined {
  try {
    const text = execFileSync("nsenter", ["-t", String(pid), "-n", "ip", "-j", "addr"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return JSON.parse(text) as SeenLink[];
  } catch {
    return undefined;
  }
}

/** A rule for every published port, and to nobody else. */
function checkRules({ violation }: Witness, running: readonly ContainerInspect[]): void {
  const rules = execFileSync("iptables-save", ["-t", "nat"], { encoding: "utf8" }).split("\n");
  const led = new Map<string, string[]>();
  for (const rule of rules) {
    const port = / --dport (\d+) .*-j DNAT --to-destination (\S+)/.exec(rule);
    if (port !== null) led.set(port[1] ?? "", [...(led.get(port[1] ?? "") ?? []), port[2] ?? ""]);
  }
  for (const { Name, NetworkSettings } of running) {
    const addresses = Object.values(NetworkSettings.Networks).map(({ IPAddress }) => IPAddress);
    for (const [inside, bindings] of Object.entries(NetworkSettings.Ports ?? {})) {
      const published = new Set((bindings ?? []).map(({ HostPort }) => HostPort));
      for (const port of published) {
        const targets = led.get(port) ?? [];
        led.delete(port);
        const wanted = addresses.map((address) => `${address}:${inside.split("/")[0]}`);
        if (targets.length !== 1 || !wanted.includes(targets[0] ?? ""))
          violation(`port ${port} of ${Name} should lead to ${wanted.join(" or ")}: ${targets.join(", ")}`);
      }
    }
  }
  for (const [port, targets] of led) violation(`nobody's port ${port} leads to ${targets.join(", ")}`);
}

/** `known`: all containers there are. Groups of those that do not run are gone; limits are what they were set to. */
function checkCgroups(
  { ledger, violation }: Witness,
  running: readonly ContainerInspect[],
  known: ReadonlySet<string>,
): void {
  for (const controller of readdirSync(CGROUPS)) {
    const place = join(CGROUPS, controller, "berth");
    const there = new Set(namesIn(place).filter((name) => known.has(name)));
    for (const { Id, Name, State } of running) {
      if (!there.delete(Id) || controller !== "pids") continue;
      const pids = textOf(join(place, Id, "cgroup.procs"))?.split("\n");
      if (pids !== undefined && existsSync(`/proc/${State.Pid}`) && !pids.includes(String(State.Pid)))
        violation(`${Name} does not run in its control group`);
    }
    for (const id of there) violation(`${id} does not run and has a control group of ${controller}`);
  }
  for (const { Id, Name } of running) {
    const limits = ledger.containers.get(Name.slice(1))?.limits;
    if (limits === undefined) continue;
    const pids = textOf(join(CGROUPS, "pids/berth", Id, "pids.max"));
    const memory = textOf(join(CGROUPS, "memory/berth", Id, "memory.limit_in_bytes"));
    if (pids === undefined || memory === undefined) continue;
    if (Number(pids) !== limits.pids || Number(memory) !== limits.memory)
      violation(
        `${Name} was limited to ${limits.pids} and ${limits.memory}: ${pids.trim()}, ${memory.trim()}`,
      );
  }
}

/** Other daemons' containers come and go there, and the place with the last of them. */
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/**
 * When all is quiet each shim is that of a running container, or of a health check's command. A client's command ends by
 * itself, with its client or with its daemon, unless it is frozen with its container.
 */
function checkShims({ violation }: Witness, daemon: TestDaemon, running: readonly ContainerInspect[]): void {
  const zygotes = processes(daemon, "berth-zygote");
  if (zygotes.length > 1) violation(`${zygotes.length} zygotes`);
  const proxies = processes(daemon, "berth-proxy");
  if (proxies.length > 1) violation(`${proxies.length} port proxies`);
  const shims = shimsOf(daemon);
  const mains = new Set(running.map(({ State }) => State.Pid));
  const room = new Map(running.map(({ Id, State, Config }) => [Id, execsAllowed(State, Config)]));
  for (const shim of shims) {
    if (shim.children.some(({ pid }) => mains.has(pid))) continue;
    const id = [...room.keys()].find((one) => shim.children.some(({ group }) => group.includes(one))) ?? "";
    const left = room.get(id) ?? 0;
    if (left > 0) room.set(id, left - 1);
    else violation(`${shims.length} shims of ${running.length} containers: ${describeShim(shim, running)}`);
  }
}

/** A probe, and one that a former daemon has left and that is being killed; whatever is frozen. */
function execsAllowed({ Paused }: ContainerInspect["State"], { Healthcheck }: ContainerInspect["Config"]) {
  if (Paused) return Infinity;
  return Healthcheck === undefined ? 0 : 2;
}
