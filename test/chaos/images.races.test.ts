/**
 * Many clients at once on the same images: one name for two images, pulls beside removals and prunes, containers beside both. No
 * answer but a clear one, no image that is not complete, nothing left behind.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { ImageInspect, ImageSummary } from "#api-types/image.ts";
import { checkLayers, checkNothingHalfMade, inventory } from "#test/chaos/data-root.ts";
import { KnownImages, seededRandom } from "#test/chaos/known-images.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";

let daemon: TestDaemon;
let registry: TestRegistry;
let known: KnownImages;
let empty: string[];

before(async () => {
  known = await KnownImages.make(seededRandom(2));
  registry = await TestRegistry.start();
  for (const { name, image } of known.images) await registry.push(name.split(":")[0] ?? "", "1", image);
  daemon = await TestDaemon.start({ subnet: 11 });
  empty = inventory(daemon.dataRoot);
});
after(async () => {
  await daemon?.stop();
  await registry?.stop();
});

function send(method: string, path: string, body?: Buffer): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = path.startsWith("/containers/create") ? { "Content-Type": "application/json" } : {};
    const sent = request({ socketPath: daemon.socket, method, path, headers }, (answer) => {
      let text = "";
      answer.on("data", (chunk) => {
        text += chunk;
      });
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

const pull = (name: string) => send("POST", `/images/create?fromImage=${registry.host}/${name}&tag=1`);
const load = (index: number) => send("POST", "/images/load?quiet=1", known.images[index]?.archive);
const remove = (name: string, query = "") => send("DELETE", `/images/${name}${query}`);
const prune = () => send("POST", `/images/prune?filters=${encodeURI('{"dangling":["false"]}')}`);

/** A stream says its failure in its last line. */
function assertPulled({ status, text }: { status: number; text: string }): void {
  assert.equal(status, 200, text);
  assert.doesNotMatch(text, /"error"/);
}

async function checkEverything(): Promise<void> {
  const images = JSON.parse((await send("GET", "/images/json?all=1")).text) as ImageSummary[];
  for (const { Id } of images) {
    const { text } = await send("GET", `/images/${Id}/json`);
    checkLayers(JSON.parse(text) as ImageInspect, (diffId) => known.contentOf(diffId));
  }
  const containers = JSON.parse((await send("GET", "/containers/json?all=1")).text) as { Id: string }[];
  await eventually(() =>
    checkNothingHalfMade(
      daemon.dataRoot,
      containers.map(({ Id }) => Id),
    ),
  );
}

async function clear(): Promise<void> {
  assert.equal((await prune()).status, 200);
  await eventually(() => assert.deepEqual(inventory(daemon.dataRoot), empty));
  await eventually(() => assert.deepEqual(readdirSync(join(daemon.dataRoot, "overlay2")), ["l"]));
}

test("two images race for one name: one has it, both are whole", async () => {
  for (let round = 0; round < 10; round++) {
    assertPulled(await load(0));
    assertPulled(await load(1));
    const answers = await Promise.all([
      send("POST", "/images/one:1/tag?repo=both&tag=1"),
      send("POST", "/images/two:1/tag?repo=both&tag=1"),
      load(0),
      load(1),
      send("POST", "/images/two:1/tag?repo=both&tag=1"),
    ]);
    for (const { status, text } of answers) assert.ok(status < 300, text);
    const both = JSON.parse((await send("GET", "/images/both:1/json")).text) as ImageInspect;
    const [one, two] = [known.images[0]?.image.id, known.images[1]?.image.id];
    assert.ok(both.Id === one || both.Id === two);
    const holders = (JSON.parse((await send("GET", "/images/json")).text) as ImageSummary[]).filter(
      ({ RepoTags }) => RepoTags.includes("both:1"),
    );
    assert.deepEqual(
      holders.map(({ Id }) => Id),
      [both.Id],
    );
    await checkEverything();
    if (round % 2 === 0) await prune();
  }
  await clear();
});

test("two pulls of images that share layers, and removals of both", async () => {
  for (let round = 0; round < 15; round++) {
    const pulls = [pull("two"), pull("three"), pull("two")];
    const removals = Promise.all(
      ["two", "three"].map(async (name) => {
        // Now before there is one, now amid, now after.
        await new Promise((resolve) => setTimeout(resolve, round * 8));
        return await remove(`${registry.host}/${name}:1`, "?force=1");
      }),
    );
    for (const pulled of await Promise.all(pulls)) assertPulled(pulled);
    for (const { status, text } of await removals) assert.ok(status === 200 || status === 404, text);
    await checkEverything();
  }
  await clear();
});

test("pulls and loads beside prunes: what is being made is not taken", async () => {
  for (let round = 0; round < 15; round++) {
    const work = [pull("three"), load(3), pull("one"), load(2)];
    const prunes = Array.from({ length: 6 }, async (_, index) => {
      await new Promise((resolve) => setTimeout(resolve, index * 25));
      return await prune();
    });
    for (const done of await Promise.all(work)) assertPulled(done);
    // Only one prune at a time.
    for (const { status, text } of await Promise.all(prunes))
      assert.ok(status === 200 || status === 409, text);
    await checkEverything();
  }
  await clear();
});

test("containers made beside removals: either there is no such image, or it stays", async () => {
  for (let round = 0; round < 20; round++) {
    assertPulled(await load(4));
    const create = () => send("POST", "/containers/create", Buffer.from('{"Image":"five:1","Cmd":["x"]}'));
    const [made, , removed] = await Promise.all([
      create(),
      prune(),
      remove("five:1", round % 2 ? "?force=1" : ""),
    ]);
    assert.ok(made.status === 201 || made.status === 404, made.text);
    assert.ok([200, 404, 409].includes(removed.status), removed.text);
    await checkEverything();
    if (made.status !== 201) continue;
    const { Id } = JSON.parse(made.text) as { Id: string };
    const container = JSON.parse((await send("GET", `/containers/${Id}/json`)).text) as ImageInspect;
    for (const directory of container.GraphDriver.Data?.LowerDir?.split(":") ?? [])
      assert.ok(readdirSync(directory).length > 0, `${directory} of a container is there`);
    assert.equal((await send("DELETE", `/containers/${Id}?v=1`)).status, 204);
  }
  await clear();
});
