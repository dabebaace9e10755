/** What clients do to images, volumes and networks. */
import type { Action, Scene } from "./actions.ts";
import { BASE_IMAGE } from "./actions.ts";
import type { Answer } from "./clients.ts";
import type { ThingKind } from "./ledger.ts";

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
  const { name } = scene.dice.pick(scene.offered) ?? { name: "" };
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
  await make(scene, "volume", name, ask, ({ status }) => status === 201);
}

async function makeNetwork(scene: Scene): Promise<void> {
  if (scene.ledger.things.network.size >= CROWD) return;
  const name = scene.ledger.newName("n");
  const ask = () => scene.clients.ask("POST", "/networks/create", { Name: name });
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
  else if (status !== 403 && status !== 409) thing.doubt = true;
  thing.busy = false;
}

async function connect(scene: Scene): Promise<void> {
  const { clients, dice, ledger } = scene;
  const network = dice.pick(ledger.freeThings("network"));
  const container = dice.pick(ledger.free("running"));
  if (network === undefined || container === undefined) return;
  container.busy = true;
  const verb = dice.oneIn(3) ? "disconnect" : "connect";
  await clients.ask("POST", `/networks/${network.name}/${verb}`, { Container: container.id, Force: false });
  container.busy = false;
}
