/**
 * Registries that misbehave and images made to do harm, met with docker's command line: it ends with exit code 1 and a
 * line that says why, and neither images nor layers nor files are left of it.
 */
import assert from "node:assert/strict";
import { createWriteStream, readdirSync, readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { after, before, beforeEach, test } from "node:test";
import { createGzip, gzipSync } from "node:zlib";
import { FakeRegistry } from "#images/testing/fake-registry.ts";
import { fileLayer, testImage } from "#images/testing/images.ts";
import { encodeEntry, endOfArchive } from "#storage/tar/tar-writer.ts";
import { tarEntry } from "#storage/testing/tar-entries.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { dockerCliMissing } from "./docker-cli.ts";

const skip = dockerCliMissing();
let daemon: TestDaemon;
let registry: FakeRegistry;
before(async () => {
  if (skip !== false) return;
  registry = await FakeRegistry.listen();
  daemon = await TestDaemon.start({ subnet: 38, flags: ["--max-layer-size", "64m"] });
});
after(async () => {
  await daemon?.stop();
  await registry?.stop();
});
beforeEach(() => {
  if (skip !== false) return;
  registry.fault = () => false;
  registry.publish("thing", "latest", testImage([fileLayer("a")]));
});

const pull = (name: string) => daemon.dockerAsync("pull", `${registry.host}/${name}`);

async function assertNothingLeft(): Promise<void> {
  assert.equal(daemon.docker("images", "-aq").stdout, "");
  // Directories go in the background.
  await eventually(() => {
    const layers = readdirSync(join(daemon.dataRoot, "overlay2")).filter((name) => name !== "l");
    const downloads = readdirSync(join(daemon.dataRoot, "image"), { recursive: true, withFileTypes: true });
    assert.deepEqual([layers, downloads.filter((entry) => entry.isFile())], [[], []]);
  });
}

const answers: Record<string, { give: (response: ServerResponse) => void; says: RegExp }> = {
  "401 whatever is shown": {
    give: (response) => response.writeHead(401, { "www-authenticate": 'Basic realm="there"' }).end(),
    says: /no basic auth credentials|pull access denied|unauthorized/,
  },
  "403": {
    give: (response) => response.writeHead(403).end(),
    says: /pull access denied|denied|403/,
  },
  "429 to everything": {
    give: (response) => response.writeHead(429, { "retry-after": "0" }).end(),
    says: /toomanyrequests|429|Too Many Requests/i,
  },
  "500 to everything": { give: (response) => response.writeHead(500).end("broken"), says: /500/ },
  "a page for people": {
    give: (response) => response.writeHead(200, { "content-type": "text/html" }).end("<html>Welcome</html>"),
    says: /text\/html|unsupported|not JSON|invalid/,
  },
  "redirects in circles": {
    give: (response) => response.writeHead(307, { location: "/v2/thing/manifests/latest" }).end(),
    says: /stopped after \d+ redirects/,
  },
};

for (const [what, { give, says }] of Object.entries(answers)) {
  test(`a registry that answers ${what}`, { skip }, async () => {
    registry.fault = (request, response) => {
      if (request.url === "/v2/") return false;
      give(response);
      return true;
    };
    const pulled = await pull("thing");
    assert.equal(pulled.code, 1, pulled.stdout);
    assert.match(pulled.stderr, says);
    await assertNothingLeft();
  });
}

test("an image for another platform only", { skip }, async () => {
  registry.publish("foreign", "latest", testImage([fileLayer("a")]));
  const manifest = [...registry.manifests.keys()].find((name) => name.startsWith("foreign@")) ?? "";
  const [, digest = ""] = manifest.split("@");
  const { type, bytes } = registry.manifests.get(manifest) ?? { type: "", bytes: Buffer.alloc(0) };
  registry.putManifest("foreign", "latest", "application/vnd.oci.image.index.v1+json", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [
      { mediaType: type, digest, size: bytes.length, platform: { os: "linux", architecture: "s390x" } },
    ],
  });
  const pulled = await pull("foreign");
  assert.equal(pulled.code, 1);
  assert.match(pulled.stderr, /no matching manifest for linux\/\w+.* in the manifest list entries/);
  await assertNothingLeft();
});

test("a layer that unpacks to more than the daemon allows", { skip }, async () => {
  const bomb = fileLayer("zeros", Buffer.alloc(200 << 20));
  registry.publish("bomb", "latest", testImage([fileLayer("a"), bomb]));
  const pulled = await pull("bomb");
  assert.equal(pulled.code, 1);
  assert.match(pulled.stderr, /layer unpacks to more than 67108864 bytes/);
  const imported = daemon.dockerWith({ input: gzipSync(bomb) }, "import", "-");
  assert.equal(imported.code, 1);
  assert.match(imported.stderr, /layer unpacks to more than 67108864 bytes/);
  await assertNothingLeft();
});

/** A thousand entries for each of a thousand directories; each name ten times, so that it is not all the file system's time. */
function* millionEntries(): Generator<Buffer> {
  for (let turn = 0; turn < 1000; turn++) {
    const directory = `d${turn % 100}`;
    const entries = [encodeEntry(tarEntry({ name: `${directory}/`, type: "directory", mode: 0o755 }))];
    for (let file = 0; file < 999; file++)
      entries.push(encodeEntry(tarEntry({ name: `${directory}/${file}` })));
    yield Buffer.concat(entries);
  }
  yield endOfArchive;
}

test("a layer with a million entries is taken without the daemon growing by it, and goes again", {
  skip,
}, async () => {
  const other = await TestDaemon.start({ subnet: 39 });
  try {
    const place = join(other.directory, "million.tar.gz");
    await pipeline(Readable.from(millionEntries()), createGzip({ level: 1 }), createWriteStream(place));
    const imported = await other.dockerAsync("import", place, "million:1");
    assert.equal(imported.code, 0, imported.stderr);
    const [, peak] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${other.pid}/status`, "utf8")) ?? [];
    assert.ok(Number(peak) < 300_000, `${peak} kB at most`);
    const id = other.docker("create", "--network", "none", "million:1", "true").stdout.trim();
    assert.equal(other.docker("cp", `${id}:/d99/998`, "-").code, 0);
    assert.equal(other.docker("rm", id).code, 0);
    assert.equal(other.docker("rmi", "million:1").code, 0);
    await eventually(() => {
      const layers = readdirSync(join(other.dataRoot, "overlay2")).filter((name) => name !== "l");
      assert.deepEqual(layers, []);
    });
  } finally {
    await other.stop();
  }
});
