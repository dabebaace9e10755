/**
 * The daemon is killed at random moments of pulls, loads, imports, commits, removals and prunes, and of its own start. Each
 * time it comes back every image it lists is complete, nothing half-made is left, and in the end nothing at all.
 *
 * KILL_SEED repeats a run's decisions (not its timing), KILL_ROUNDS says how often.
 */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { readdirSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { ImageInspect, ImageSummary } from "#api-types/image.ts";
import { checkLayers, checkNothingHalfMade, inventory } from "#test/chaos/data-root.ts";
import { fingerprint, KnownImages, seededRandom } from "#test/chaos/known-images.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";

const rounds = Number(process.env.KILL_ROUNDS ?? 200);
const seed = Number(process.env.KILL_SEED ?? randomInt(2 ** 31));
/** Milliseconds after which the daemon is killed at the latest, when most work is over; mostly it is much earlier. */
const longestWait = 500;
/** A container is run in one of so many rounds. */
const runEvery = 20;

const random = seededRandom(seed);
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;

let daemon: TestDaemon;
let registry: TestRegistry;
let known: KnownImages;

before(async () => {
  known = await KnownImages.make(random);
  registry = await TestRegistry.start();
  for (const { name, image } of known.images) await registry.push(name.split(":")[0] ?? "", "1", image);
  daemon = await TestDaemon.start({ subnet: 8 });
  // It was set up for this start: the next ones are quicker without looking whether it still is.
  process.env.BERTH_NO_SETUP = "1";
});
after(async () => {
  await daemon?.stop();
  await registry?.stop();
});

/** A request whose end may never come; the answer's body, or what cut it short. */
function ask(method: string, path: string, body?: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const headers = path.startsWith("/commit") ? { "Content-Type": "application/json" } : {};
    const sent = request({ socketPath: daemon.socket, method, path, headers }, (answer) => {
      let text = "";
      answer.on("data", (chunk) => {
        text += chunk;
      });
      answer.on("close", () => resolve(text));
    });
    sent.on("error", (error) => resolve(String(error)));
    sent.end(body);
  });
}

async function get<T>(path: string): Promise<T> {
  const { status, body } = await daemon.api("GET", path);
  assert.equal(status, 200, `${path}: ${body}`);
  return JSON.parse(body) as T;
}

/** The container that is committed, and what its layer must hold; undefined until there is one. */
let committed: { id: string; content: string } | undefined;

const names = () => known.images.flatMap(({ name }) => [name, `${registry.host}/${name}`]);
const work: Record<string, () => Promise<unknown>> = {
  pull: () => {
    const [repository, tag] = pick(known.images).name.split(":");
    return ask("POST", `/images/create?fromImage=${registry.host}/${repository}&tag=${tag}`);
  },
  load: () => ask("POST", "/images/load?quiet=1", pick(known.images).archive),
  import: () => ask("POST", `/images/create?fromSrc=-&repo=imported&tag=${pick(["1", "2"])}`, known.root),
  commit: async () => {
    if (committed === undefined) return;
    await ask(
      "POST",
      `/commit?container=${committed.id}&repo=committed&tag=${pick(["1", "2"])}`,
      Buffer.from("{}"),
    );
  },
  tag: () => ask("POST", `/images/${pick(names())}/tag?repo=other&tag=${pick(["1", "2"])}`),
  remove: () => {
    const name = pick([
      ...names(),
      "other:1",
      "other:2",
      "imported:1",
      "imported:2",
      "committed:1",
      "committed:2",
    ]);
    return ask("DELETE", `/images/${name}?force=${pick(["0", "1"])}`);
  },
  prune: () => ask("POST", `/images/prune?filters=${pick(["", '{"dangling":["false"]}'])}`),
};
/** How often each is chosen: mostly what makes something. */
const deck = Object.entries({ pull: 4, load: 4, import: 2, commit: 3, tag: 2, remove: 2, prune: 1 }).flatMap(
  ([name, times]) => Array.from({ length: times }, () => name),
);

async function checkEverything(what: string): Promise<void> {
  try {
    for (const { Id } of await get<ImageSummary[]>("/images/json?all=1")) {
      const image = await get<ImageInspect>(`/images/${Id}/json`);
      checkLayers(image, (diffId) => known.contentOf(diffId) ?? committed?.content);
    }
    const containers = await get<{ Id: string }[]>("/containers/json?all=1");
    checkNothingHalfMade(
      daemon.dataRoot,
      containers.map(({ Id }) => Id),
    );
  } catch (error) {
    throw new Error(
      `${what} (KILL_SEED=${seed}): ${(error as Error).message}\n${daemon.log().slice(-3000)}`,
      {
        cause: error,
      },
    );
  }
}

async function makeCommittable(): Promise<void> {
  const runs = known.images.find(({ name }) => name === known.runnable);
  await ask("POST", "/images/load", runs?.archive);
  const made = daemon.docker(
    "run",
    "-d",
    known.runnable,
    "sh",
    "-c",
    "mkdir /made; head -c 200000 /dev/urandom > /made/file",
  );
  const id = made.stdout.trim();
  assert.equal(daemon.docker("wait", id).stdout, "0\n", made.stderr);
  const { GraphDriver } = await get<ImageInspect>(`/containers/${id}/json`);
  committed = { id, content: fingerprint(GraphDriver.Data?.UpperDir ?? "") };
}

test(`killed ${rounds} times, seed ${seed}`, { timeout: 900_000 }, async (t) => {
  const empty = inventory(daemon.dataRoot);
  await makeCommittable();
  let images = 0;
  let fromContainer = 0;
  for (let round = 0; round < rounds; round++) {
    const chosen = Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick(deck));
    const running = Promise.all(chosen.map((name) => work[name]?.()));
    await sleep(random() ** 2 * longestWait);
    await daemon.kill();
    await running;
    if (random() < 0.1) {
      // In the midst of coming back, too.
      const booting = daemon.boot().catch(() => {});
      await sleep(random() * 300);
      await daemon.kill();
      await booting;
    }
    await daemon.boot();
    await checkEverything(`round ${round}, killed amid ${chosen.join(", ")}`);
    const listed = await get<ImageSummary[]>("/images/json");
    images += listed.length;
    fromContainer += listed.filter(({ RepoTags }) =>
      RepoTags.some((name) => name.startsWith("committed")),
    ).length;
    if (round % runEvery === 0) {
      await ask("POST", "/images/load", known.images.at(-1)?.archive);
      const ran = daemon.docker("run", "--rm", known.runnable, "wc", "-c", "/runs/large");
      assert.equal(ran.stdout, "400000 /runs/large\n", ran.stderr);
    }
  }
  t.diagnostic(`${images} images were whole, ${fromContainer} of them committed`);
  assert.ok(images > 0, "there was something to break");
  if (committed !== undefined) assert.equal(daemon.docker("rm", committed.id).code, 0);
  await ask("POST", '/images/prune?filters={"dangling":["false"]}');
  assert.deepEqual(await get("/images/json?all=1"), []);
  await eventually(() => assert.deepEqual(inventory(daemon.dataRoot), empty));
  await eventually(() => assert.deepEqual(readdirSync(join(daemon.dataRoot, "overlay2")), ["l"]));
});
