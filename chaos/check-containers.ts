/** Containers as the daemon tells of them beside what the ledger knows. */
import { existsSync } from "node:fs";
import type { ContainerInspect, ContainerSummary } from "#api-types/container.ts";
import { checkLines, numbersOf } from "./check-log.ts";
import type { Clients } from "./clients.ts";
import type { ChaosContainer, Ledger } from "./ledger.ts";
import { wrongForLong } from "./soon.ts";

/** How many of its last lines are looked at while a container runs. */
const TAIL = 2000;

export interface Witness {
  clients: Clients;
  ledger: Ledger;
  /** Ends of containers that events told of, by container. */
  ends: ReadonlyMap<string, readonly number[]>;
  /** How long what is wrong may take to become right, ms; where it is not told, long enough for a busy machine. */
  patience?: number;
  violation(text: string): void;
}

/** Everything known is there and as it was left, everything in doubt is settled, nothing else is there. */
export async function checkContainers(witness: Witness): Promise<void> {
  const { clients, ledger, violation } = witness;
  const listed = await clients.get<ContainerSummary[]>("/containers/json?all=1");
  const left = new Map(listed.map((one) => [one.Id, one]));
  for (const container of [...ledger.containers.values()]) {
    const found = left.get(container.id) ?? listed.find(({ Names }) => Names.includes(`/${container.name}`));
    if (found === undefined) {
      if (!container.doubt && !container.autoRemove)
        violation(`${container.name} is gone (${container.life})`);
      ledger.containers.delete(container.name);
      continue;
    }
    left.delete(found.Id);
    container.id = found.Id;
    settleName(witness, container, found.Names[0]?.slice(1) ?? "");
    await checkOne(witness, container);
  }
  for (const { Id, Names } of left.values()) violation(`${Names} (${Id}) was removed, or never asked for`);
  checkUnique(witness, listed);
}

function settleName({ ledger, violation }: Witness, container: ChaosContainer, name: string): void {
  if (name === container.name) return;
  if (!container.doubt) violation(`${container.name} is now called ${name}`);
  ledger.containers.delete(container.name);
  container.name = name;
  ledger.containers.set(name, container);
}

async function checkOne(witness: Witness, container: ChaosContainer): Promise<void> {
  const { violation } = witness;
  const seen = await settled(witness, container);
  if (seen === undefined) return;
  const { State, RestartCount } = seen;
  const { life, doubt, name } = container;
  const running = State.Running;
  container.doubt = false;
  if (running) {
    if (life === "ended" && !doubt) violation(`${name} had ended and runs again`);
    if (life === "created" && !doubt) violation(`${name} was never started and runs`);
    const { process } = container;
    const same = process?.pid === State.Pid && process.startedAt === State.StartedAt;
    if (container.kind === "counting") {
      if (process !== undefined && !same && !doubt) violation(`${name} was started again by nobody`);
      container.process = { pid: State.Pid, startedAt: State.StartedAt };
    }
    container.life = "running";
  } else if (State.Status === "created") {
    if (life !== "created" && !doubt) violation(`${name} was started and is called created`);
    container.life = "created";
  } else {
    if (container.kind === "crashing" && !doubt && life === "running" && State.Status === "exited")
      checkRetries(witness, container, RestartCount);
    checkEnd(witness, container, State, doubt);
  }
  await checkLog(witness, container, State.Status === "exited" && life === "running" && !doubt);
}

/** As it is when what goes on by itself has happened; undefined for one that is gone, as it should be. */
async function settled(witness: Witness, container: ChaosContainer): Promise<ContainerInspect | undefined> {
  const { clients, ledger, patience, violation } = witness;
  let seen: ContainerInspect | undefined;
  const wrong = await wrongForLong(async () => {
    const { status, body } = await clients.ask("GET", `/containers/${container.id}/json`);
    if (status === 404 && container.autoRemove) {
      ledger.containers.delete(container.name);
      return [];
    }
    if (status !== 200) return [`inspect answers ${status} ${body}`];
    seen = JSON.parse(body) as ContainerInspect;
    const { Running, Paused, Restarting, Pid, Status, Health } = seen.State;
    if (container.autoRemove && !Running && Status !== "created") return ["is to go by itself, and stays"];
    if (Running && !Restarting && !existsSync(`/proc/${Pid}`))
      return ["is called running and its process is gone"];
    if (container.mustEnd && Running) return ["runs, and its shim was killed"];
    // As in Docker, one whose health nobody watches is, too: a pause may have been done and its answer lost.
    if (Running && !Paused && Health?.Status === "unhealthy") return ["is called unhealthy"];
    if (isUntold(witness, container, seen.State))
      return [`is ${Status} with ${seen.State.ExitCode}, and no event told so`];
    return [];
  }, patience);
  for (const one of wrong) violation(`${container.name} ${one}`);
  if (wrong.length > 0) ledger.containers.delete(container.name);
  return wrong.length > 0 || !ledger.containers.has(container.name) ? undefined : seen;
}

/** Its end is new, and no event told of it yet: events come on a connection of their own, maybe after this answer. */
function isUntold(
  { ends, ledger }: Witness,
  container: ChaosContainer,
  State: ContainerInspect["State"],
): boolean {
  const { id, life, doubt, begunAt } = container;
  if (!isOneEnd(container, State) || life === "ended" || doubt) return false;
  return begunAt === ledger.daemonEnds && (ends.get(id) ?? []).length === 0;
}

/** It ended, and only once: what is told of that can be compared. */
function isOneEnd({ kind, begunTwice }: ChaosContainer, State: ContainerInspect["State"]): boolean {
  return State.Status === "exited" && State.Error === "" && !begunTwice && kind !== "crashing";
}

/** Its policy gave up: not before the last try, and not after it. */
function checkRetries({ violation }: Witness, container: ChaosContainer, restarts: number): void {
  const { name, lines, hindered, begunTwice } = container;
  if (hindered || begunTwice || restarts === lines - 1) return;
  violation(`${name} should have been started again ${lines - 1} times, and was ${restarts} times`);
}

function checkEnd(
  { ends, violation }: Witness,
  container: ChaosContainer,
  State: ContainerInspect["State"],
  doubt: boolean,
): void {
  const { life, name, code, kind, hindered } = container;
  const ended = `${State.Status} with ${State.ExitCode}${State.Error && `: ${State.Error}`}`;
  if (isOneEnd(container, State)) {
    for (const told of container.told)
      if (told !== State.ExitCode) violation(`${name} is ${ended}; who waited was told ${told}`);
    const events = ends.get(container.id) ?? [];
    if (events.length > 1) violation(`${name} ended once, and events told of ${events.length} ends`);
    const [event = State.ExitCode] = events;
    if (event !== State.ExitCode) violation(`${name} is ${ended}; an event told ${event}`);
  }
  if (State.Status !== "exited") {
    // Created and never started has the same end whatever was tried.
    if (!doubt && life !== "told to end") violation(`${name} (${life}) is ${ended}`);
  } else if (kind === "crashing" && hindered && life === "running") {
    // Its next start failed.
  } else if (kind === "step" && hindered && State.ExitCode === 1) {
    // Started again, it found no room for what it writes.
  } else if (!doubt && (life === "running" || life === "ended") && State.ExitCode !== code) {
    violation(`${name} (${life}) should end with ${code} and is ${ended}, OOMKilled ${State.OOMKilled}`);
  } else if (!doubt && life === "created") violation(`${name} was never started and is ${ended}`);
  // Told to end, it ends by the signal or came before it: from now on this is its end.
  container.code = State.ExitCode;
  container.life = "ended";
}

async function checkLog(witness: Witness, container: ChaosContainer, whole: boolean): Promise<void> {
  const { clients, violation } = witness;
  const { name, id, kind, lines, lostLines, begunTwice, hindered } = container;
  const tail = whole ? "all" : TAIL;
  const { status, body } = await clients.ask("GET", `/containers/${id}/logs?stdout=1&tail=${tail}`);
  if (status !== 200) return violation(`the log of ${name}: ${status} ${body}`);
  // What fails counts in a file: without room for it, it counts wrongly.
  if (begunTwice || (kind === "crashing" && (hindered || lostLines))) return;
  for (const wrong of checkLines(body, container)) violation(`the log of ${name}: ${wrong}`);
  const numbers = numbersOf(body);
  const complete = numbers.length === lines && (lines === 0 || numbers[0] === 0);
  if (whole && !lostLines && !complete) {
    violation(
      `${name} ended by itself after ${lines} lines; its log has ${numbers.length}, to ${numbers.at(-1)}`,
    );
  }
}

/** No name, address or port twice. */
function checkUnique({ violation }: Witness, listed: readonly ContainerSummary[]): void {
  const seen = new Map<string, string>();
  const once = (what: string, name: string) => {
    const other = seen.get(what);
    if (other !== undefined && other !== name) violation(`${what} is both ${other}'s and ${name}'s`);
    seen.set(what, name);
  };
  for (const { Names, Ports, NetworkSettings, State } of listed) {
    const name = Names[0] ?? "";
    for (const one of Names) once(`name ${one}`, name);
    if (State !== "running") continue;
    for (const { IP, PublicPort, Type } of Ports) {
      if (PublicPort !== undefined) once(`port ${IP}:${PublicPort}/${Type}`, name);
    }
    for (const [network, endpoint] of Object.entries(NetworkSettings?.Networks ?? {})) {
      if (endpoint.IPAddress) once(`address ${endpoint.IPAddress} in ${network}`, name);
    }
  }
}
