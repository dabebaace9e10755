/** Volume plugins over Docker's plugin protocol: found, activated, asked, gone and back. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { Plugins } from "#plugins/plugins.ts";
import { Database } from "#state/database.ts";
import { VolumePlugin } from "#test/fixtures/volume-plugin.ts";
import { volumeMigrations } from "#volumes/volume-rows.ts";
import { createVolumeService } from "#volumes/volume-service.ts";
import type { VolumeService, VolumeUser } from "#volumes/volume-types.ts";

let root: string;
let database: Database;
let volumes: VolumeService;
let plugin: VolumePlugin;
const events: string[] = [];

async function open(): Promise<void> {
  database = Database.open(join(root, "berth.db"), [volumeMigrations]);
  volumes = createVolumeService({
    database,
    dataRoot: root,
    plugins: new Plugins({ sockets: [join(root, "run")], specs: [join(root, "etc")] }, 0),
    onEvent: (action, name, { driver }) => events.push(`${action} ${name} ${driver}`),
  });
  await volumes.start();
}

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "berth-plugins-"));
  mkdirSync(join(root, "etc"));
  events.length = 0;
  await open();
  plugin = await VolumePlugin.start({
    directory: join(root, "plugin"),
    socket: join(root, "run/shelf.sock"),
  });
});
afterEach(async () => {
  await plugin[Symbol.asyncDispose]();
  database[Symbol.dispose]();
  rmSync(root, { recursive: true });
});

const user = (container: string): VolumeUser => ({
  container,
  destination: "/x",
  readOnly: false,
  propagation: "",
});

test("a volume of a plugin, from its making to its end", async () => {
  const made = await volumes.create({
    Name: "v/1",
    Driver: "shelf",
    DriverOpts: { a: "b" },
    Labels: { l: "" },
  });
  assert.deepEqual(made, {
    Name: "v/1",
    Driver: "shelf",
    Mountpoint: join(root, "plugin/v/1"),
    CreatedAt: "2024-05-06T07:08:09Z",
    Status: { users: 0 },
    Labels: { l: "" },
    Scope: "local",
    Options: { a: "b" },
  });
  assert.deepEqual(plugin.volumes.get("v/1")?.options, { a: "b" });
  assert.equal(await volumes.mount("v/1", user("one")), join(root, "plugin/v/1"));
  await volumes.mount("v/1", user("two"));
  await volumes.unmount("v/1", user("one"));
  assert.deepEqual(plugin.volumes.get("v/1")?.users.size, 1);
  await volumes.unmount("v/1", user("two"));
  await volumes.unmount("v/1", user("two"));
  await volumes.remove("v/1", false);
  assert.deepEqual(plugin.calls, ["Create", "Mount", "Mount", "Unmount", "Unmount", "Remove"]);
  assert.deepEqual(events, [
    "create v/1 shelf",
    "mount v/1 shelf",
    "mount v/1 shelf",
    "unmount v/1 shelf",
    "unmount v/1 shelf",
    "destroy v/1 shelf",
  ]);
});

test("a name is one driver's", async () => {
  await volumes.create({ Name: "mine", Driver: "local" });
  await assert.rejects(volumes.create({ Name: "mine", Driver: "shelf" }), {
    code: "conflict",
    message: "create mine: driver 'local' already has volume 'mine': volume name must be unique",
  });
  await volumes.create({ Name: "theirs", Driver: "shelf" });
  await assert.rejects(volumes.create({ Name: "theirs", Driver: "local" }), /driver 'shelf' already has/);
  assert.equal((await volumes.create({ Name: "theirs" })).Driver, "shelf");
});

test("what a plugin had before is found by its name", async () => {
  plugin.volumes.set("old", { options: {}, users: new Set() });
  assert.deepEqual(
    (await volumes.list({})).Volumes.map(({ Name, Driver }) => `${Name} ${Driver}`),
    ["old shelf"],
  );
  assert.equal((await volumes.inspect("old")).Driver, "shelf");
  assert.equal((await volumes.create({ Name: "old" })).Driver, "shelf");
  assert.ok(!plugin.calls.includes("Create"));
});

test("specifications with an address, as text and as JSON", async () => {
  await using remote = await VolumePlugin.start({ directory: join(root, "remote"), scope: "Global" });
  writeFileSync(join(root, "etc/text.spec"), `${remote.address}\n`);
  mkdirSync(join(root, "etc/json"));
  writeFileSync(join(root, "etc/json/json.json"), JSON.stringify({ Name: "json", Addr: remote.address }));
  assert.equal((await volumes.create({ Name: "one", Driver: "text" })).Scope, "global");
  await volumes.create({ Name: "two", Driver: "json" });
  assert.deepEqual([...remote.volumes.keys()], ["one", "two"]);
  assert.deepEqual(volumes.drivers(), ["local", "json", "text"]);
  writeFileSync(join(root, "etc/empty.spec"), "nonsense");
  await assert.rejects(volumes.create({ Name: "three", Driver: "empty" }), /empty\.spec has no address/);
});

test("no plugin, and one for something else", async () => {
  await assert.rejects(volumes.create({ Name: "vv", Driver: "none" }), {
    code: "not-found",
    message: 'create vv: error looking up volume plugin none: plugin "none" not found',
  });
  await assert.rejects(volumes.create({ Name: "vv", Driver: "../shelf" }), /plugin "..\/shelf" not found/);
  await using _other = await VolumePlugin.start({
    directory: join(root, "other"),
    socket: join(root, "run/other.sock"),
    implements: ["NetworkDriver"],
  });
  await assert.rejects(
    volumes.create({ Name: "vv", Driver: "other" }),
    /error looking up volume plugin other: plugin does not implement the requested driver/,
  );
  assert.deepEqual((await volumes.list({})).Warnings, []);
});

test("what a plugin says that it cannot do is told, and nothing is left of it", async () => {
  plugin.failures.set("VolumeDriver.Create", "the shelf is full");
  await assert.rejects(volumes.create({ Name: "vv", Driver: "shelf" }), {
    code: "internal",
    message: "create vv: VolumeDriver.Create: the shelf is full",
  });
  await assert.rejects(volumes.inspect("vv"), /get vv: no such volume/);
  plugin.failures.clear();
  await volumes.create({ Name: "vv", Driver: "shelf" });
  plugin.failures.set("VolumeDriver.Mount", "not now");
  await assert.rejects(
    volumes.mount("vv", user("c")),
    /error while mounting volume 'vv': VolumeDriver.Mount: not now/,
  );
  plugin.failures.set("VolumeDriver.Remove", "never");
  await assert.rejects(volumes.remove("vv", false), /remove vv: VolumeDriver.Remove: never/);
  await volumes.remove("vv", true);
  assert.equal(plugin.volumes.has("vv"), true);
});

test("a dead plugin stands in nobody's way, and is used again when it is back", async () => {
  await volumes.create({ Name: "vv", Driver: "shelf" });
  await volumes.create({ Name: "here", Driver: "local" });
  await plugin.kill();
  database[Symbol.dispose]();
  await open();
  const { Volumes, Warnings } = await volumes.list({});
  assert.deepEqual(
    Volumes.map(({ Name }) => Name),
    ["here", "vv"],
  );
  // Its socket goes with a process that ends in order; one that is killed leaves it.
  assert.ok(
    Warnings.every((text) => text.startsWith("list shelf: cannot reach the plugin shelf at unix://")),
  );
  await assert.rejects(volumes.mount("vv", user("c")), /error looking up volume plugin shelf/);
  assert.equal((await volumes.create({ Name: "new" })).Driver, "local");
  await plugin.listen();
  await volumes.mount("vv", user("c"));
  await volumes.unmount("vv", user("c"));
});

test("the end of a container does not wait for a plugin that does not answer; its next use does", async () => {
  await volumes.create({ Name: "vv", Driver: "shelf" });
  await volumes.mount("vv", user("c"));
  plugin.silent.add("VolumeDriver.Unmount");
  await volumes.unmount("vv", user("c"));
  const again = volumes.mount("vv", user("c"));
  assert.deepEqual(plugin.calls, ["Create", "Mount", "Unmount"]);
  await plugin.kill();
  await plugin.listen();
  await again;
  assert.deepEqual(plugin.calls, ["Create", "Mount", "Unmount", "Mount"]);
});

test("a socket that nobody listens on, and a plugin that does not answer, end in an error", async () => {
  const path = join(root, "run/stale.sock");
  const stale = createServer();
  await new Promise<void>((done) => stale.listen(path, done));
  await using mute = await VolumePlugin.start({
    directory: join(root, "m"),
    socket: join(root, "run/mute.sock"),
  });
  mute.silent.add("Plugin.Activate");
  stale.on("connection", (socket) => socket.destroy());
  await assert.rejects(
    volumes.create({ Name: "vv", Driver: "stale" }),
    /cannot reach the plugin stale at unix:/,
  );
  const { Warnings } = await volumes.list({});
  assert.ok(
    Warnings.some((text) => text.includes("the plugin mute did not answer within 2 s")),
    Warnings.join(),
  );
  assert.ok(
    Warnings.some((text) => text.includes("stale")),
    Warnings.join(),
  );
  await new Promise((done) => stale.close(done));
});
