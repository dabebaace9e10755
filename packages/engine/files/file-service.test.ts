import assert from "node:assert/strict";
import { test } from "node:test";
import { type ContainerRecord, containerMigrations, neverRun } from "#engine/containers/container-record.ts";
import { ContainerStore } from "#engine/containers/container-store.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { ContainerFileService } from "#engine/files/file-service.ts";
import { Database } from "#state/database.ts";

/** A container that does not run, and an engine that counts the paths that are open. `giveBack`: what its root took. */
function setUp(giveBack: () => Promise<void> = async () => {}) {
  const containers = new ContainerStore(Database.open(":memory:", [containerMigrations]));
  const record = {
    id: "a1",
    name: "old",
    phase: "present",
    created: "2026-01-01T00:00:00Z",
    config: {},
    hostConfig: {},
    mounts: [],
    state: neverRun(),
  };
  const container = containers.add(record as unknown as ContainerRecord);
  const open = { count: 0 };
  const context = {
    config: { dataRoot: "/nowhere" },
    containers,
    storage: {
      hold: async () => ({ [Symbol.asyncDispose]: giveBack }),
      rootfs: async () => ({ kind: "directory", path: "/nowhere" }),
    },
    files: {
      open: async () => {
        open.count++;
        return { status: { name: "etc" }, [Symbol.dispose]: () => open.count-- };
      },
    },
    held: { release: async () => {} },
    events: { publish: () => {} },
  } as unknown as EngineContext;
  return { containers, container, files: new ContainerFileService(context), open };
}

test("an archive of a container that is renamed meanwhile is whole, and closes what was opened", async () => {
  const { containers, container, files, open } = setUp();
  const archive = files.archive("old", "/etc");
  const renamed = container.queue.run(async () => containers.rename(container, "new"));
  {
    using outgoing = await archive;
    await renamed;
    assert.equal(outgoing.status.name, "etc");
    assert.equal(open.count, 1);
  }
  assert.equal(open.count, 0);
});

test("what was opened in a root that cannot be given back is closed", async () => {
  const { files, open } = setUp(async () => {
    throw new Error("it is busy");
  });
  await assert.rejects(files.archive("old", "/etc"), /it is busy/);
  await assert.rejects(files.stat("old", "/etc"), /it is busy/);
  await assert.rejects(files.export("old"), /it is busy/);
  assert.equal(open.count, 0);
});
