/** The daemon is killed at arbitrary moments of making and removing: the next one leaves nothing half-made behind. */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
const ROUNDS = 6;
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 7 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

const layers = () =>
  readdirSync(join(daemon.dataRoot, "overlay2"))
    .filter((name) => name !== "l")
    .sort();
const linksOnBridge = () => readdirSync(`/sys/class/net/${daemon.bridge}/brif`);

function cgroups(): string[] {
  const parent = "/sys/fs/cgroup/memory/berth";
  return existsSync(parent) ? readdirSync(parent).filter((name) => /^[0-9a-f]{64}$/.test(name)) : [];
}

const comes = (what: string, holds: () => boolean) =>
  eventually(() => assert.ok(holds(), `${what} did not come about\n${daemon.log()}`));

test(`killed ${ROUNDS} times amid runs, creations and removals`, async () => {
  // Where the layer was unpacked first is removed in the background.
  await comes("a quiet overlay2", () => layers().every((name) => !name.startsWith(".")));
  const imageLayers = layers();
  const foreignCgroups = new Set(cgroups());
  for (let round = 0; round < ROUNDS; round++) {
    const work = [
      daemon.dockerAsync("run", "--rm", IMAGE, "true"),
      daemon.dockerAsync("run", "--rm", "-v", "/anonymous", IMAGE, "sleep", "0.1"),
      daemon.dockerAsync("run", "-d", "--name", `kept${round}`, IMAGE, "sleep", "1000"),
      daemon.dockerAsync("create", "--name", `made${round}`, IMAGE),
      daemon.dockerAsync("rm", "-f", `kept${round - 1}`),
    ];
    await sleep(30 + round * 45);
    await daemon.kill("SIGKILL");
    await Promise.all(work);
    await daemon.boot();
    const listed = daemon.docker("ps", "-aq", "--no-trunc").stdout.split("\n").filter(Boolean);
    // Whatever is listed is whole: it can be inspected, and its layers are there.
    for (const id of listed) {
      assert.equal(daemon.docker("inspect", id).code, 0);
      assert.ok(layers().includes(id), `the layer of ${id} is missing`);
    }
  }
  const left = daemon.docker("ps", "-aq").stdout.split("\n").filter(Boolean);
  if (left.length > 0) assert.equal(daemon.docker("rm", "-f", "-v", ...left).code, 0);
  await comes("an overlay2 with nothing but image layers", () => layers().join() === imageLayers.join());
  await comes("no container directory", () => readdirSync(join(daemon.dataRoot, "containers")).length === 0);
  await comes("no run directory", () => readdirSync(join(daemon.execRoot, "containers")).length === 0);
  await comes("no link on the bridge", () => linksOnBridge().length === 0);
  await comes("no cgroup", () => cgroups().every((name) => foreignCgroups.has(name)));
  assert.equal(daemon.docker("run", "--rm", IMAGE, "echo", "fine").stdout, "fine\n");
});
