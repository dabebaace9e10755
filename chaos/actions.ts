/**
 * What clients do to containers. Each action takes something nobody else is using, asks for one change, and writes what
 * it was told into the ledger.
 */
import type { ContainerInspect } from "#api-types/container.ts";
import type { Answer, Clients } from "./clients.ts";
import type { Dice } from "./dice.ts";
import type { ChaosContainer, Kind, Ledger, Life } from "./ledger.ts";

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
  /** Does the registry have this repository, with tag 1? Asked of itself, past the gate. */
  registryHas(repository: string): Promise<boolean>;
  /** Is something happening that a process inside a container cannot be started in? */
  failing(): boolean;
  /** Tells of something that must never be. */
  violation(text: string): void;
}

export type Action = (scene: Scene) => Promise<void>;

export const containerActions: readonly (readonly [string, number, Action])[] = [
  ["create and start", 10, createAndStart],
  ["docker run", 4, dockerRun],
  ["create one that fails", 2, createCrashing],
  ["start", 3, start],
  ["stop", 3, stop],
  ["kill", 2, kill],
  ["remove", 6, remove],
  ["rename", 2, rename],
  ["restart", 1, restart],
  ["pause and go on", 1, pauseAndGoOn],
  ["prune a container", 1, prune],
  ["look", 3, look],
];

/** Prints `lines` numbered lines, then ends with `code`. */
function counting({ lines, code, serves }: ChaosContainer): string {
  const serve = serves ? "hostname >/dev/shm/id; httpd -p 80 -h /dev/shm; " : "";
  const count = `i=0; while [ $i -lt ${lines} ]; do echo line $i; i=$((i+1)); usleep 20000; done`;
  return `${serve}${count}; exit ${code}`;
}

/** Prints the next line, and fails. */
function crashing({ code }: ChaosContainer): string {
  return `n=$(cat /n 2>/dev/null || echo 0); echo line $n; echo $((n+1)) >/n; exit ${code}`;
}

function plan({ ledger, dice }: Scene): ChaosContainer {
  return ledger.plan({
    kind: "counting",
    lines: dice.weighted([
      [dice.between(1, 40), 2],
      [dice.between(100, 400), 2],
      [1_000_000, 4],
    ]),
    code: dice.between(0, 99),
    serves: dice.oneIn(2),
    healthcheck: dice.oneIn(8),
  });
}

/** Both drivers, with files that are full soon and ones that never are. */
function logOptions({ dice }: Scene): { Type: string; Config: Record<string, string> } {
  const rotated = { "max-size": "4k", "max-file": "500" };
  return {
    Type: dice.oneIn(3) ? "local" : "json-file",
    Config: dice.oneIn(3) ? { ...rotated, ...(dice.oneIn(2) ? { compress: "true" } : {}) } : {},
  };
}

export function tooMany({ ledger }: Scene): boolean {
  return ledger.containers.size >= CROWD;
}

async function createAndStart(scene: Scene): Promise<void> {
  if (tooMany(scene)) return remove(scene);
  const { dice, ledger } = scene;
  const network = dice.oneIn(3) ? ledger.freeThings("network")[0]?.name : undefined;
  const held = dice.oneIn(4) ? ledger.freeThings("volume")[0] : undefined;
  const volume = held?.name;
  // Who removed it meanwhile would see it made anew for the container.
  if (held !== undefined) held.busy = true;
  const container = plan(scene);
  await create(scene, container, {
    Cmd: ["sh", "-c", counting(container)],
    ExposedPorts: { "80/tcp": {} },
    Volumes: dice.oneIn(4) ? { "/anonymous": {} } : {},
    ...(container.healthcheck ? { Healthcheck: { Test: ["CMD", "true"], Interval: 1e9, Retries: 3 } } : {}),
    HostConfig: {
      NetworkMode: network ?? "default",
      Binds: volume === undefined ? [] : [`${volume}:/data`],
      PortBindings: container.serves ? { "80/tcp": [{ HostPort: "" }] } : {},
      LogConfig: logOptions(scene),
      Init: dice.oneIn(6),
    },
  });
  if (held !== undefined) held.busy = false;
}

async function create(scene: Scene, container: ChaosContainer, wishes: object): Promise<void> {
  const { clients, ledger } = scene;
  const created = await clients.ask("POST", `/containers/create?name=${container.name}`, {
    Image: BASE_IMAGE,
    // For a prune that means one.
    Labels: { only: container.name },
    ...wishes,
  });
  if (created.status === 201) {
    container.id = (JSON.parse(created.body) as { Id: string }).Id;
    await begin(scene, container);
  } else if (created.status >= 400 && created.status < 500) ledger.containers.delete(container.name);
  else container.doubt = true;
  container.busy = false;
}

/** Fails again and again until its policy gives up. */
async function createCrashing(scene: Scene): Promise<void> {
  if (tooMany(scene)) return remove(scene);
  const retries = scene.dice.between(1, 4);
  const code = scene.dice.between(1, 99);
  const container = scene.ledger.plan({ kind: "crashing", lines: retries + 1, code });
  await create(scene, container, {
    Cmd: ["sh", "-c", crashing(container)],
    HostConfig: {
      RestartPolicy: { Name: "on-failure", MaximumRetryCount: retries },
      LogConfig: logOptions(scene),
    },
  });
}

async function dockerRun(scene: Scene): Promise<void> {
  if (tooMany(scene)) return remove(scene);
  const container = plan(scene);
  container.healthcheck = false;
  const { status, body } = await scene.clients.docker(
    ...["run", "-d", "--name", container.name, "--label", `only=${container.name}`],
    ...(container.serves ? ["-p", "80"] : []),
    ...[BASE_IMAGE, "sh", "-c", counting(container)],
  );
  if (status === 200) {
    container.id = body.trim();
    container.life = "running";
  } else container.doubt = true;
  container.busy = false;
}

async function begin({ clients, ledger }: Scene, container: ChaosContainer): Promise<void> {
  container.begunAt = ledger.daemonEnds;
  container.begunIn = ledger.round;
  const { status } = await clients.ask("POST", `/containers/${container.id}/start`);
  if (status === 204) container.life = "running";
  else if (status !== 304) {
    container.doubt = true;
    // It may have run for a moment, and printed, before its start was taken back.
    container.begunTwice = true;
  }
}

async function start(scene: Scene): Promise<void> {
  await change(scene, ["created"], (container) => begin(scene, container));
}

/** Takes one that is alone, and gives it back afterwards. */
export async function change(
  { ledger, dice }: Scene,
  lives: Life[],
  work: (container: ChaosContainer) => Promise<void>,
  kinds: readonly Kind[] = ["counting", "crashing", "step"],
): Promise<void> {
  const container = dice.pick(ledger.free(...lives).filter(({ kind }) => kinds.includes(kind)));
  if (container === undefined) return;
  container.busy = true;
  await work(container);
  container.busy = false;
}

/** What was known to be there and is denied has been lost. */
export function denied(
  scene: Scene,
  container: ChaosContainer,
  what: string,
  { status, body }: Answer,
): void {
  // Its network may be gone: it was not in use while the container was not.
  if (status === 404 && body.includes("No such container"))
    scene.violation(`${what} ${container.name}: ${body.trim()}, but it was never removed`);
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
    container.begunIn = scene.ledger.round;
    delete container.process;
  });
}

async function pauseAndGoOn(scene: Scene): Promise<void> {
  await change(scene, ["running"], async (container) => {
    await scene.clients.ask("POST", `/containers/${container.id}/pause`);
    await scene.clients.ask("POST", `/containers/${container.id}/unpause`);
  });
}

export async function remove(scene: Scene): Promise<void> {
  await change(scene, [], async (container) => {
    container.life = "told to end";
    const { status, body } = await scene.clients.ask("DELETE", `/containers/${container.id}?force=1&v=1`);
    if (status === 204) scene.ledger.containers.delete(container.name);
    else if (status === 404) denied(scene, container, "remove", { status, body });
    else container.doubt = true;
  });
}

/** Of all that have ended this one: it has a label of its own. */
async function prune(scene: Scene): Promise<void> {
  await change(scene, ["ended"], async (container) => {
    const listed = await scene.clients.ask("GET", `/containers/${container.id}/json`);
    if (listed.status !== 200) return;
    const only = (JSON.parse(listed.body) as ContainerInspect).Config.Labels?.only;
    if (only === undefined) return;
    const filters = encodeURIComponent(JSON.stringify({ label: [`only=${only}`] }));
    const { status, body } = await scene.clients.ask("POST", `/containers/prune?filters=${filters}`);
    if (status === 200 && body.includes(container.id)) scene.ledger.containers.delete(container.name);
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
