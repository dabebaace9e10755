/**
 * An image goes from hand to hand: registry, Berth, Debian's dockerd, registry again. Its id and its layers' diff ids
 * are the same at every station, the blobs' digests wherever the bytes are kept, and its files are the same files.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { TestRegistry } from "#test/fixtures/registry.ts";
import { variedImage } from "#test/fixtures/varied-image.ts";
import { dockerCliMissing } from "./docker-cli.ts";
import { Side } from "./side.ts";

const skip = dockerCliMissing();
let registry: TestRegistry;
let berth: Side;
let dockerd: Side;
/** What every station must say. */
let origin: { id: string; layers: string[] };
let pushed: Awaited<ReturnType<TestRegistry["push"]>>;
before(async () => {
  if (skip !== false) return;
  registry = await TestRegistry.start();
  berth = await Side.berth(31);
  dockerd = await Side.dockerd();
  const image = await variedImage();
  pushed = await registry.push("origin", "1", image);
  origin = { id: image.id, layers: image.layers.map((layer) => sha256(layer)) };
});
after(async () => {
  await berth?.[Symbol.asyncDispose]();
  await dockerd?.[Symbol.asyncDispose]();
  await registry?.stop();
});

const sha256 = (bytes: Buffer) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** A repository's manifest, with what it says of itself. */
async function manifestOf(repository: string) {
  const response = await fetch(`http://${registry.host}/v2/${repository}/manifests/1`, {
    headers: { accept: "application/vnd.docker.distribution.manifest.v2+json" },
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  assert.equal(response.status, 200, bytes.toString());
  const { config, layers } = JSON.parse(bytes.toString()) as {
    config: { digest: string };
    layers: { digest: string; size: number }[];
  };
  return { digest: sha256(bytes), config: config.digest, layers: layers.map(({ digest }) => digest) };
}

/** Every blob is what its name says, and unpacked what the image says. */
async function assertWhole(repository: string): Promise<void> {
  const { config, layers } = await manifestOf(repository);
  assert.equal(config, origin.id);
  const unpacked: string[] = [];
  for (const digest of layers) {
    const response = await fetch(`http://${registry.host}/v2/${repository}/blobs/${digest}`);
    const bytes = Buffer.from(await response.arrayBuffer());
    assert.equal(sha256(bytes), digest);
    unpacked.push(sha256(gunzipSync(bytes)));
  }
  assert.deepEqual(unpacked, origin.layers);
}

/** All files with their kinds, owners, modes, times to the second, sizes, link targets and contents, as a container sees them. */
function files(side: Side, image: string): string {
  const look =
    'find /varied | sort | while read -r f; do stat -c "%n %F %a %u %g %s %Y %h %t %T" "$f"; ' +
    'if [ -L "$f" ]; then readlink "$f"; elif [ -f "$f" ]; then md5sum "$f"; fi; done';
  return side
    .docker("run", "--rm", "--network", "none", image, "sh", "-c", look)
    .replace(/^(.* directory \S+ \d+ \d+) \d+/gm, "$1");
}

function forget(side: Side): void {
  for (const id of new Set(side.docker("images", "-q", "--no-trunc").split("\n").filter(Boolean)))
    side.docker("rmi", "-f", id);
  assert.equal(side.docker("images", "-aq"), "");
}

/** registry → first → archive → second → registry → first → registry. */
async function goRound(first: Side, second: Side, name: string): Promise<void> {
  const from = `${registry.host}/origin:1`;
  const middle = `${registry.host}/${name}-by-second:1`;
  const last = `${registry.host}/${name}-by-first:1`;
  first.docker("pull", from);
  assert.deepEqual(first.identity(from), origin, `pulled by ${first.name}`);
  const seen = files(first, from);
  second.bytes(["load"], first.bytes(["save", from]));
  assert.deepEqual(second.identity(from), origin, `loaded by ${second.name}`);
  assert.equal(files(second, from), seen);
  second.docker("tag", from, middle);
  second.docker("push", middle);
  await assertWhole(`${name}-by-second`);
  forget(first);
  first.docker("pull", middle);
  assert.deepEqual(first.identity(middle), origin, `pulled back by ${first.name}`);
  assert.equal(files(first, middle), seen);
  const { digest, layers } = await manifestOf(`${name}-by-second`);
  assert.match(first.docker("image", "inspect", "-f", "{{.RepoDigests}}", middle), new RegExp(digest));
  first.docker("tag", middle, last);
  first.docker("push", last);
  await assertWhole(`${name}-by-first`);
  // Berth packs nothing anew that the registry has; dockerd takes whichever of its digests comes first.
  if (first === berth) assert.deepEqual((await manifestOf(`${name}-by-first`)).layers, layers);
  forget(first);
  forget(second);
}

test("Berth, archive, dockerd, registry, Berth", { skip }, () => goRound(berth, dockerd, "round"));
test("dockerd, archive, Berth, registry, dockerd", { skip }, () => goRound(dockerd, berth, "back"));

test("what was pulled is pushed elsewhere with the digests it came with", { skip }, async () => {
  const from = `${registry.host}/origin:1`;
  const to = `${registry.host}/elsewhere/by-berth:1`;
  berth.docker("pull", from);
  berth.docker("tag", from, to);
  const output = berth.docker("push", to);
  assert.match(output, /Mounted from origin/);
  const { layers, config } = await manifestOf("elsewhere/by-berth");
  assert.equal(config, origin.id);
  assert.deepEqual(
    layers,
    pushed.layers.map(({ digest }) => digest),
  );
  forget(berth);
});

test("an archive of several images and names, and back", { skip }, async () => {
  const from = `${registry.host}/origin:1`;
  for (const [first, second] of [
    [berth, dockerd],
    [dockerd, berth],
  ] as const) {
    first.docker("pull", from);
    first.docker("tag", from, "one:a");
    first.docker("tag", from, "two/deep:b");
    const archive = first.bytes(["save", "one:a", "two/deep:b", from]);
    const output = second.bytes(["load"], archive).toString();
    for (const name of ["one:a", "two/deep:b", from]) {
      assert.ok(output.includes(`Loaded image: ${name}\n`), `${second.name}: ${output}`);
      assert.deepEqual(second.identity(name), origin);
    }
    second.bytes(["load"], archive);
    forget(first);
    forget(second);
  }
});
