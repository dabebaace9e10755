/** Making a container: what comes between its row and its end, and what cannot be stored. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { containerMigrations } from "#engine/containers/container-record.ts";
import { Containers } from "#engine/containers/container-service.ts";
import { ContainerStore } from "#engine/containers/container-store.ts";
import { BackgroundWork, type EngineContext } from "#engine/engine-context.ts";
import { silentLogger } from "#errors/logger-types.ts";
import { Database } from "#state/database.ts";

const REQUEST = { Image: "busybox", HostConfig: { Binds: ["one:/one", "two:/two"] } };

/** An engine whose volumes are nothing but their references, and take until `filled` to be filled. */
function open(t: TestContext) {
  const dataRoot = mkdtempSync(join(tmpdir(), "berth-create-"));
  t.after(() => rmSync(dataRoot, { recursive: true, force: true }));
  const database = Database.open(":memory:", [containerMigrations]);
  const containers = new ContainerStore(database);
  const references = new Set<string>();
  const filling = Promise.withResolvers<void>();
  const filled = Promise.withResolvers<void>();
  const background = new BackgroundWork(silentLogger);
  const context = {
    config: { dataRoot },
    containers,
    background,
    logger: silentLogger,
    limits: { cpus: 2, cgroupVersion: 1, defaultIpcMode: "private", logDriver: "json-file", logOpts: {} },
    images: {
      resolve: () => ({ id: "sha256:1", config: { Cmd: ["sh"] } }),
      collect: async () => undefined,
    },
    networks: { inspect: () => ({ Name: "bridge" }), checkEndpoint: () => undefined },
    storage: {
      sizeLimit: () => undefined,
      createWritable: async () => undefined,
      remove: async () => undefined,
    },
    volumes: {
      create: async ({ Name }: { Name: string }) => {
        references.add(Name);
        return { Name, Driver: "local" };
      },
      dereference: (name: string) => references.delete(name),
      populate: () => {
        filling.resolve();
        return filled.promise;
      },
    },
    logs: { forget: async () => undefined },
    events: { publish: () => undefined },
  } as unknown as EngineContext;
  const phases = () =>
    database.all<{ phase: string }>("SELECT phase FROM container").map(({ phase }) => phase);
  const service = new Containers(context);
  return { context, containers, service, references, filling, filled, phases };
}

test("a removal waits until its container is made, and leaves nothing of it", async (t) => {
  const { context, containers, service, references, filling, filled, phases } = open(t);
  const creating = service.create("web", REQUEST, "");
  await filling.promise;
  const removing = service.remove("web", { force: true, volumes: false, link: false });
  await turn();
  assert.ok(containers.find("web"), "removed while it was made");
  filled.resolve();
  const { Id } = await creating;
  await removing;
  await context.background.drain();
  assert.equal(containers.find(Id), undefined);
  assert.deepEqual([...references], []);
  assert.deepEqual(phases(), []);
});

test("a prune neither waits for one that is being made nor takes it", async (t) => {
  const { service, filling, filled, phases } = open(t);
  const creating = service.create("web", REQUEST, "");
  await filling.promise;
  assert.deepEqual(await service.prune({}), { ContainersDeleted: null, SpaceReclaimed: 0 });
  filled.resolve();
  await creating;
  assert.deepEqual(phases(), ["present"]);
});

test("one that cannot be stored as made is not there, and its name is free", async (t) => {
  const { containers, service, references, filled, phases } = open(t);
  filled.resolve();
  t.mock.method(containers, "save", () => assert.fail("disk is full"), { times: 1 });
  await assert.rejects(service.create("web", REQUEST, ""), /disk is full/);
  assert.deepEqual(containers.all(), []);
  assert.deepEqual([...references], []);
  assert.deepEqual(phases(), []);
  await service.create("web", REQUEST, "");
  assert.deepEqual(phases(), ["present"]);
});

test("one of which nothing can be stored or removed is left to the next daemon, and nobody finds it", async (t) => {
  const { context, containers, service, filled, phases } = open(t);
  filled.resolve();
  t.mock.method(containers, "save", () => assert.fail("disk is full"));
  t.mock.method(context.storage, "remove", () => assert.fail("layers stay"));
  await assert.rejects(service.create("web", REQUEST, ""), /disk is full/);
  assert.deepEqual(containers.all(), []);
  assert.equal(containers.isNameTaken("web"), false);
  assert.deepEqual(phases(), ["creating"]);
});
