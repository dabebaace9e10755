/**
 * What clients do to containers. Each action takes something nobody else is using, asks for one change, and writes what
 * it was told into the ledger.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ContainerInspect } from "#api-types/container.ts";
import type { Answer, Clients } from "./clients.ts";
import type { Dice } from "./dice.ts";
import type { ChaosContainer, Ledger, Life } from "./ledger.ts";

export const BASE_IMAGE = "berth/busybox";
/** At most so many containers at once; then only what is there is worked on. */
const CROWD = 24;

export interface Scene {
  clients: Clients;
  ledger: Ledger;
  dice: Dice;
  /** Where images are pulled from, "127.0.0.1:40123". */
  registry: string;
  /** Names of images that can be pulled or loaded. */
  offered: readonly { name: string; archive: Buffer }[];
  /** Tells of something that must never be. */
  violation(text: string): void;
}

export type Action = (scene: Scene) => Promise<void>;

export const containerActions: readonly (readonly [string, number, Action])[] = [
  ["create and start", 10, createAndStart],
  ["docker run", 4, dockerRun],
  ["start", 3, start],
  ["exec", 6, exec],
  ["stop", 3, stop],
  ["kill", 2, kill],
  ["remove", 6, remove],
  ["rename", 2, rename],
  ["restart", 1, restart],
  ["pause and go on", 1, pauseAndGoOn],
  ["look", 3, look],
];

/** Prints `lines` numbered lines, then ends with `code`. */
function counting(lines: number, code: number): string {
  return `i=0; while [ $i -lt ${lines} ]; do echo line $i; i=$((i+1)); usleep 20000; done; exit ${code}`;
}

function plan({ ledger, dice }: Scene): ChaosContainer {
  const container: ChaosContainer = {
    name: ledger.newName("c"),
    id: "",
    life: "created",
    lines: dice.weighted([
      [dice.between(1, 40), 2],
      [dice.between(100, 400), 2],
      [1_000_000, 4],
    ]),
    code: dice.between(0, 99),
    doubt: false,
    busy: true,
    lostLines: false,
    begunTwice: false,
  };
  ledger.containers.set(container.name, container);
  return container;
}

function tooMany({ ledger }: Scene): boolean {
  return ledger.containers.size >= CROWD;
}

async function createAndStart(scene: Scene): Promise<void> {
  if (tooMany(scene)) return remove(scene);
  const { clients, dice, ledger } = scene;
  const network = dice.oneIn(3) ? ledger.freeThings("network")[0]?.name : undefined;
  const volume = dice.oneIn(4) ? ledger.freeThings("volume")[0]?.name : undefined;
  const container = plan(scene);
  const created = await clients.ask("POST", `/containers/create?name=${container.name}`, {
    Image: BASE_IMAGE,
    Cmd: ["sh", "-c", counting(container.lines, container.code)],
    ExposedPorts: { "80/tcp": {} },
    Volumes: dice.oneIn(4) ? { "/anonymous": {} } : {},
    HostConfig: {
      NetworkMode: network ?? "default",
      Binds: volume === undefined ? [] : [`${volume}:/data`],
      PortBindings: dice.oneIn(2) ? { "80/tcp": [{ HostPort: "" }] } : {},
    },
  });
  if (created.status === 201) {
    container.id = (JSON.parse(created.body) as { Id: string }).Id;
    await begin(scene, container);
  } else if (created.status >= 400 && created.status < 500) ledger.containers.delete(container.name);
  else container.doubt = true;
  container.busy = false;
}

async function dockerRun(scene: Scene): Promise<void> {
  if (tooMany(scene)) return remove(scene);
  const container = plan(scene);
  const { status, body } = await scene.clients.docker(
    ...["run", "-d", "--name", container.name, ...(scene.dice.oneIn(2) ? ["-p", "80"] : [])],
    ...[BASE_IMAGE, "sh", "-c", counting(container.lines, container.code)],
  );
  if (status === 200) {
    container.id = body.trim();
    container.life = "running";
  } else container.doubt = true;
  container.busy = false;
}

async function begin({ clients }: Scene, container: ChaosContainer): Promise<void> {
  const { status } = await clients.ask("POST", `/containers/${container.id}/start`);
  if (status === 204) container.life = "running";
  else if (status !== 304) container.doubt = true;
}

async function start(scene: Scene): Promise<void> {
  await change(scene, ["created"], (container) => begin(scene, container));
}

/** Takes one that is alone, and gives it back afterwards. */
async function change(
  { ledger, dice }: Scene,
  lives: Life[],
  work: (container: ChaosContainer) => Promise<void>,
): Promise<void> {
  const container = dice.pick(ledger.free(...lives));
  if (container === undefined) return;
  container.busy = true;
  await work(container);
  container.busy = false;
}

/** What was known to be there and is denied has been lost. */
function denied(scene: Scene, container: ChaosContainer, what: string, { status, body }: Answer): void {
  if (status === 404) scene.violation(`${what} ${container.name}: ${body.trim()}, but it was never removed`);
}

async function exec(scene: Scene): Promise<void> {
  await change(scene, ["running"], async (container) => {
    const made = await scene.clients.ask("POST", `/containers/${container.id}/exec`, {
      AttachStdout: true,
      Cmd: ["echo", "said inside"],
    });
    denied(scene, container, "exec in", made);
    if (made.status !== 201) return;
    const { Id } = JSON.parse(made.body) as { Id: string };
    const { status, body } = await scene.clients.ask("POST", `/exec/${Id}/start`, { Detach: false });
    if (status !== 200 || body === "" || body.includes("said inside")) return;
    // Its container may have come to its end in between; then it is told so soon.
    await sleep(2000);
    const seen = await scene.clients.ask("GET", `/containers/${container.id}/json`);
    if (seen.status !== 200 || !(JSON.parse(seen.body) as ContainerInspect).State.Running) return;
    scene.violation(`exec in ${container.name}, which runs, answered ${JSON.stringify(body)}`);
  });
}

async function end(scene: Scene, path: string): Promise<void> {
  await change(scene, ["running"], async (container) => {
    container.life = "told to end";
    const answer = await scene.clients.ask("POST", `/containers/${container.id}/${path}`);
    denied(scene, container, path, answer);
  });
}

async function stop(scene: Scene): Promise<void> {
  await end(scene, "stop?t=1");
}

async function kill(scene: Scene): Promise<void> {
  await end(scene, "kill");
}

async function restart(scene: Scene): Promise<void> {
  await change(scene, ["running"], async (container) => {
    container.life = "told to end";
    denied(
      scene,
      container,
      "restart",
      await scene.clients.ask("POST", `/containers/${container.id}/restart?t=0`),
    );
    container.begunTwice = true;
    delete container.process;
  });
}

async function pauseAndGoOn(scene: Scene): Promise<void> {
  await change(scene, ["running"], async (container) => {
    await scene.clients.ask("POST", `/containers/${container.id}/pause`);
    await scene.clients.ask("POST", `/containers/${container.id}/unpause`);
  });
}

async function remove(scene: Scene): Promise<void> {
  await change(scene, [], async (container) => {
    container.life = "told to end";
    const { status, body } = await scene.clients.ask("DELETE", `/containers/${container.id}?force=1&v=1`);
    if (status === 204) scene.ledger.containers.delete(container.name);
    else if (status === 404) denied(scene, container, "remove", { status, body });
    else container.doubt = true;
  });
}

async function rename(scene: Scene): Promise<void> {
  await change(scene, [], async (container) => {
    const name = scene.ledger.newName("r");
    const { status } = await scene.clients.ask("POST", `/containers/${container.id}/rename?name=${name}`);
    if (status === 0 || status >= 500) container.doubt = true;
    if (status !== 204) return;
    scene.ledger.containers.delete(container.name);
    container.name = name;
    scene.ledger.containers.set(name, container);
  });
}

async function look(scene: Scene): Promise<void> {
  const { clients, dice, ledger } = scene;
  const one = dice.pick(ledger.free());
  await dice.pick([
    () => clients.ask("GET", "/containers/json?all=1&size=1"),
    () => clients.ask("GET", "/system/df"),
    () => clients.ask("GET", "/info"),
    async () => {
      if (one !== undefined) await clients.ask("GET", `/containers/${one.id}/stats?stream=0&one-shot=1`);
    },
    async () => {
      if (one !== undefined) await clients.ask("GET", `/containers/${one.id}/logs?stdout=1&tail=10`);
    },
    async () => {
      if (one !== undefined) await clients.ask("GET", `/containers/${one.id}/changes`);
    },
  ])?.();
}
