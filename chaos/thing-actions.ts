/** What clients do to images, volumes and networks. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Action, Scene } from "./actions.ts";
import { BASE_IMAGE } from "./actions.ts";
import type { Answer } from "./clients.ts";
import type { ChaosThing, ThingKind } from "./ledger.ts";

/** At most so many of a kind. */
const CROWD = 6;

export const thingActions: readonly (readonly [string, number, Action])[] = [
  ["pull", 4, pull],
  ["load", 2, load],
  ["commit", 3, commit],
  ["remove an image", 4, (scene) => removeThing(scene, "image", "/images/", "?force=1")],
  ["prune images", 1, async ({ clients }) => void (await clients.ask("POST", "/images/prune"))],
  ["make a volume", 2, makeVolume],
  ["remove a volume", 2, (scene) => removeThing(scene, "volume", "/volumes/", "")],
  ["make a network", 2, makeNetwork],
  ["remove a network", 2, (scene) => removeThing(scene, "network", "/networks/", "")],
  ["connect", 3, connect],
  ["tag", 2, tag],
  ["push", 2, push],
  ["save and load", 1, saveAndLoad],
  ["build in steps", 2, buildInSteps],
  ["prune volumes", 1, async ({ clients }) => void (await clients.ask("POST", "/volumes/prune"))],
  ["prune a network", 1, pruneNetwork],
];

/** Asks for a thing under a name that nobody else is busy with; it is there when `made` says so. */
async function make(
  { ledger }: Scene,
  kind: ThingKind,
  name: string,
  ask: () => Promise<Answer>,
  made: (answer: Answer) => boolean,
): Promise<void> {
  const known = ledger.things[kind].get(name);
  if (known?.busy) return;
  const thing = known ?? { name, doubt: false, busy: true };
  thing.busy = true;
  ledger.things[kind].set(name, thing);
  const answer = await ask();
  if (made(answer)) thing.doubt = false;
  else if (known === undefined || known.doubt) thing.doubt = true;
  thing.busy = false;
}

async function pull(scene: Scene): Promise<void> {
  const pushed = scene.dice.oneIn(4) ? scene.dice.pick(scene.ledger.pushed) : undefined;
  const { name } =
    pushed === undefined ? (scene.dice.pick(scene.offered) ?? { name: "" }) : { name: `${pushed}:1` };
  const [repository, tag] = name.split(":");
  const full = `${scene.registry}/${name}`;
  await make(
    scene,
    "image",
    full,
    () => scene.clients.ask("POST", `/images/create?fromImage=${scene.registry}/${repository}&tag=${tag}`),
    ({ status, body }) => status === 200 && /"status":"Status: [^"]*for /.test(body),
  );
}

async function load(scene: Scene): Promise<void> {
  const { name, archive } = scene.dice.pick(scene.offered) ?? { name: "", archive: Buffer.alloc(0) };
  await make(
    scene,
    "image",
    name,
    () => scene.clients.ask("POST", "/images/load?quiet=1", archive),
    ({ status, body }) => status === 200 && body.includes("Loaded image"),
  );
}

async function commit(scene: Scene): Promise<void> {
  const { clients, dice, ledger } = scene;
  const container = dice.pick(ledger.free("running", "ended"));
  if (container === undefined || ledger.things.image.size >= 3 * CROWD) return;
  const name = ledger.newName("image");
  container.busy = true;
  await make(
    scene,
    "image",
    `${name}:latest`,
    () => clients.ask("POST", `/commit?container=${container.id}&repo=${name}&pause=0`, {}),
    ({ status }) => status === 201,
  );
  container.busy = false;
}

async function makeVolume(scene: Scene): Promise<void> {
  if (scene.ledger.things.volume.size >= CROWD) return;
  const name = scene.ledger.newName("v");
  const ask = () => scene.clients.ask("POST", "/volumes/create", { Name: name });
  let place = "";
  await make(scene, "volume", name, ask, ({ status, body }) => {
    if (status === 201) place = (JSON.parse(body) as { Mountpoint: string }).Mountpoint;
    return status === 201;
  });
  const made = scene.ledger.things.volume.get(name);
  if (place === "" || made === undefined) return;
  try {
    writeFileSync(join(place, "stamp"), name);
    made.stamp = name;
  } catch {
    // The disk is full.
  }
}

async function makeNetwork(scene: Scene): Promise<void> {
  if (scene.ledger.things.network.size >= CROWD) return;
  const name = scene.ledger.newName("n");
  const ask = () => scene.clients.ask("POST", "/networks/create", { Name: name, Labels: { only: name } });
  await make(scene, "network", name, ask, ({ status }) => status === 201);
}

/** In use is a good reason not to; everything else but a yes leaves doubt. */
async function removeThing(scene: Scene, kind: ThingKind, path: string, query: string): Promise<void> {
  const { clients, dice, ledger } = scene;
  const thing = dice.pick(ledger.freeThings(kind).filter(({ name }) => name !== `${BASE_IMAGE}:latest`));
  if (thing === undefined) return;
  thing.busy = true;
  const { status, body } = await clients.ask("DELETE", `${path}${thing.name}${query}`);
  if (status === 200 || status === 204) ledger.things[kind].delete(thing.name);
  else if (status === 404)
    scene.violation(`remove ${kind} ${thing.name}: ${body.trim()}, but it was never removed`);
  else if (status !== 403 && status !== 409) {
    thing.doubt = true;
    // A removal that failed half-way may have taken what was in it.
    delete thing.stamp;
  }
  thing.busy = false;
}

async function connect(scene: Scene): Promise<void> {
  const { clients, dice, ledger } = scene;
  const network = dice.pick(ledger.freeThings("network"));
  // One that waits for its next start keeps no network from being removed.
  const container = dice.pick(ledger.free("running").filter(({ kind }) => kind === "counting"));
  if (network === undefined || container === undefined) return;
  container.busy = true;
  const verb = dice.oneIn(3) ? "disconnect" : "connect";
  const asked = { Container: container.id, Force: false };
  const { status } = await clients.ask("POST", `/networks/${network.name}/${verb}`, asked);
  // Its port may have been published there.
  if (verb === "disconnect" && (status < 400 || status >= 500)) container.serves = false;
  container.busy = false;
}

/** Another name for what a client made. */
async function tag(scene: Scene): Promise<void> {
  const { clients, dice, ledger } = scene;
  const image = dice.pick(ledger.freeThings("image").filter(isOwn));
  if (image === undefined || ledger.things.image.size >= 3 * CROWD) return;
  const name = ledger.newName("image");
  image.busy = true;
  await make(
    scene,
    "image",
    `${name}:latest`,
    () => clients.ask("POST", `/images/${image.name}/tag?repo=${name}&tag=latest`),
    ({ status }) => status === 201,
  );
  stampLike(scene, `${name}:latest`, image);
  image.busy = false;
}

/** Committed by a client, or built in steps. */
function isOwn({ name }: ChaosThing): boolean {
  return name.startsWith("image");
}

function stampLike({ ledger }: Scene, name: string, { stamp }: ChaosThing): void {
  const made = ledger.things.image.get(name);
  if (made !== undefined && stamp !== undefined) made.stamp = stamp;
}

/** Under a name in the registry. What was pushed must be there. */
async function push(scene: Scene): Promise<void> {
  const { clients, dice, ledger, registry } = scene;
  const image = dice.pick(ledger.freeThings("image").filter(isOwn));
  if (image === undefined || ledger.things.image.size >= 3 * CROWD) return;
  const repository = ledger.newName("pushed");
  const name = `${registry}/${repository}:1`;
  image.busy = true;
  await make(
    scene,
    "image",
    name,
    () => clients.ask("POST", `/images/${image.name}/tag?repo=${registry}/${repository}&tag=1`),
    ({ status }) => status === 201,
  );
  stampLike(scene, name, image);
  image.busy = false;
  const tagged = ledger.things.image.get(name);
  if (tagged === undefined || tagged.doubt || tagged.busy) return;
  tagged.busy = true;
  const pushed = await clients.docker("push", "-q", name);
  if (pushed.status === 200) {
    const found = await scene.registryHas(repository);
    if (found) ledger.pushed.push(repository);
    else scene.violation(`${name} was pushed, and the registry does not have it`);
  }
  tagged.busy = false;
}

/** It stays what it is. */
async function saveAndLoad(scene: Scene): Promise<void> {
  const image = scene.dice.pick(scene.ledger.freeThings("image"));
  if (image === undefined) return;
  image.busy = true;
  const place = mkdtempSync(join(tmpdir(), "berth-chaos-save-"));
  try {
    const file = join(place, "saved.tar");
    const saved = await scene.clients.docker("save", "-o", file, image.name);
    if (saved.status === 200) {
      const loaded = await scene.clients.docker("load", "-q", "-i", file);
      if (loaded.status === 200 && !loaded.body.includes(image.name))
        scene.violation(`${image.name} was saved, and what was loaded is ${loaded.body.trim()}`);
    }
  } finally {
    rmSync(place, { recursive: true });
  }
  image.busy = false;
}

/** Run, commit, run what was committed: every step leaves a file, and all of them are in the last image. */
async function buildInSteps(scene: Scene): Promise<void> {
  const { clients, dice, ledger } = scene;
  let from = BASE_IMAGE;
  let stamp = "";
  for (let step = dice.between(1, 3); step > 0; step--) {
    if (ledger.things.image.size >= 3 * CROWD) return;
    const container = ledger.plan({ kind: "step", lines: 0, code: 0 });
    const text = container.name;
    const command = `echo ${text} >>/steps; echo ${text} >/step-${text}`;
    const ran = await clients.docker("run", "--name", container.name, from, "sh", "-c", command);
    if (ran.status !== 200) container.doubt = true;
    else container.life = "ended";
    const seen = ran.status === 200 && (await clients.ask("GET", `/containers/${container.name}/json`));
    if (seen && seen.status === 200) container.id = (JSON.parse(seen.body) as { Id: string }).Id;
    else container.doubt = true;
    if (container.doubt) {
      container.busy = false;
      return;
    }
    const name = `${ledger.newName("image")}:latest`;
    const repository = name.split(":")[0];
    const committed = () => clients.ask("POST", `/commit?container=${container.id}&repo=${repository}`, {});
    await make(scene, "image", name, committed, ({ status }) => status === 201);
    const image = ledger.things.image.get(name);
    container.busy = false;
    if (image === undefined || image.doubt || image.busy) return;
    stamp += `${text}\n`;
    image.stamp = stamp;
    from = name;
  }
}

async function pruneNetwork(scene: Scene): Promise<void> {
  const { clients, dice, ledger } = scene;
  const network = dice.pick(ledger.freeThings("network"));
  if (network === undefined) return;
  network.busy = true;
  const filters = encodeURIComponent(JSON.stringify({ label: [`only=${network.name}`] }));
  const { status, body } = await clients.ask("POST", `/networks/prune?filters=${filters}`);
  if (status !== 200) network.doubt = true;
  else if (body.includes(`"${network.name}"`)) ledger.things.network.delete(network.name);
  network.busy = false;
}
