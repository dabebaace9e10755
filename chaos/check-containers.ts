/** Containers as the daemon tells of them beside what the ledger knows. */
import { existsSync } from "node:fs";
import type { ContainerInspect, ContainerSummary } from "#api-types/container.ts";
import type { Clients } from "./clients.ts";
import type { ChaosContainer, Ledger } from "./ledger.ts";

/** How many of its last lines are looked at while a container runs. */
const TAIL = 2000;

export interface Witness {
  clients: Clients;
  ledger: Ledger;
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
      if (!container.doubt) violation(`${container.name} is gone (${container.life})`);
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
  const { clients, violation } = witness;
  const { State } = await clients.get<ContainerInspect>(`/containers/${container.id}/json`);
  const { life, doubt, name } = container;
  const running = State.Running;
  container.doubt = false;
  if (running) {
    if (life === "ended" && !doubt) violation(`${name} had ended and runs again`);
    if (life === "created" && !doubt) violation(`${name} was never started and runs`);
    const { process } = container;
    const same = process?.pid === State.Pid && process.startedAt === State.StartedAt;
    if (process !== undefined && !same && !doubt) violation(`${name} was started again by nobody`);
    if (!existsSync(`/proc/${State.Pid}`)) violation(`${name} is called running and its process is gone`);
    container.process = { pid: State.Pid, startedAt: State.StartedAt };
    container.life = "running";
  } else if (State.Status === "created") {
    if (life !== "created" && !doubt) violation(`${name} was started and is called created`);
    container.life = "created";
  } else {
    checkEnd(witness, container, State, doubt);
  }
  await checkLog(witness, container, State.Status === "exited" && life === "running" && !doubt);
}

function checkEnd(
  { violation }: Witness,
  container: ChaosContainer,
  State: ContainerInspect["State"],
  doubt: boolean,
): void {
  const { life, name, code } = container;
  const ended = `${State.Status} with ${State.ExitCode}${State.Error && `: ${State.Error}`}`;
  if (State.Status !== "exited") {
    // Created and never started has the same end whatever was tried.
    if (!doubt && life !== "told to end") violation(`${name} (${life}) is ${ended}`);
  } else if (!doubt && (life === "running" || life === "ended") && State.ExitCode !== code) {
    violation(`${name} (${life}) should end with ${code} and is ${ended}, OOMKilled ${State.OOMKilled}`);
  } else if (!doubt && life === "created") violation(`${name} was never started and is ${ended}`);
  // Told to end, it ends by the signal or came before it: from now on this is its end.
  container.code = State.ExitCode;
  container.life = "ended";
}

async function checkLog(witness: Witness, container: ChaosContainer, whole: boolean): Promise<void> {
  const { clients, violation } = witness;
  const { name, id, lines, lostLines, begunTwice } = container;
  const tail = whole ? "all" : TAIL;
  const { status, body } = await clients.ask("GET", `/containers/${id}/logs?stdout=1&tail=${tail}`);
  if (status !== 200) return violation(`the log of ${name}: ${status} ${body}`);
  if (begunTwice) return;
  const numbers = [...body.matchAll(/line (\d+)\n/g)].map((match) => Number(match[1]));
  for (const [at, number] of numbers.entries()) {
    const before = numbers[at - 1];
    if (before === undefined || number === before + 1) continue;
    if (number <= before) violation(`${name} has line ${number} in its log after line ${before}`);
    else if (!lostLines) violation(`${name} lost the lines between ${before} and ${number} of its log`);
  }
  const complete = numbers[0] === 0 && numbers.length === lines;
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
