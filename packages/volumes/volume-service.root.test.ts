/** The local volume driver on a real file system. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { readMountInfo } from "#kernel/mountinfo.ts";
import { setXattr } from "#kernel/xattr-syscalls.ts";
import { Database } from "#state/database.ts";
import { isMounted } from "#volumes/local-mounts.ts";
import { volumeMigrations } from "#volumes/volume-rows.ts";
import { createVolumeService } from "#volumes/volume-service.ts";
import type { VolumeService, VolumeUser } from "#volumes/volume-types.ts";

let dataRoot: string;
let database: Database;
let volumes: VolumeService;
const open = async () => {
  database = Database.open(join(dataRoot, "berth.db"), [volumeMigrations]);
  volumes = createVolumeService({ database, dataRoot, onEvent: () => {} });
  await volumes.start();
};
beforeEach(async () => {
  dataRoot = mkdtempSync(join(tmpdir(), "berth-volumes-"));
  await open();
});
afterEach(() => {
  database[Symbol.dispose]();
  rmSync(dataRoot, { recursive: true });
});

test("a volume is a directory where Docker has it, and survives a restart", async () => {
  const volume = await volumes.create({ Name: "data", Labels: { a: "b" } });
  assert.equal(volume.Mountpoint, join(dataRoot, "volumes/data/_data"));
  assert.equal(statSync(volume.Mountpoint).mode & 0o777, 0o755);
  assert.equal(statSync(join(dataRoot, "volumes")).mode & 0o777, 0o701);
  database[Symbol.dispose]();
  await open();
  assert.deepEqual((await volumes.inspect("data")).Labels, { a: "b" });
  assert.equal((await volumes.create({ Name: "data" })).CreatedAt, volume.CreatedAt);
});

test("a used volume stays, an unused one goes with its directory", async () => {
  await volumes.create({ Name: "data" }, "c1");
  await assert.rejects(volumes.remove("data", true), /remove data: volume is in use - \[c1\]/);
  volumes.dereference("data", "c1");
  await volumes.remove("data", false);
  assert.deepEqual(readdirSync(join(dataRoot, "volumes")), []);
  await assert.rejects(volumes.remove("data", false), /get data: no such volume/);
  await volumes.remove("data", true);
});

test("a removal that comes while a container's volume is being made finds it in use", async () => {
  const made = volumes.create({ Name: "data" }, "c1");
  const [, removed] = await Promise.allSettled([made, volumes.remove("data", false)]);
  assert.equal(removed.status, "rejected");
  assert.match(String(removed.status === "rejected" && removed.reason), /volume is in use - \[c1\]/);
  assert.ok(existsSync((await made).Mountpoint));
});

test("a volume whose end cannot be stored is gone all the same, and may be made anew", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const failing = () => {
    throw new Error("disk I/O error");
  };
  const removeUnstored = async () => {
    const full = t.mock.method(database, "durably", failing);
    await volumes.remove("data", false);
    full.mock.restore();
  };
  const stored = () => database.all("SELECT name FROM volume").length;
  await volumes.create({ Name: "data", Labels: { a: "b" } });
  await removeUnstored();
  assert.deepEqual([(await volumes.list({})).Volumes, stored()], [[], 1]);
  await assert.rejects(volumes.inspect("data"), { code: "not-found" });
  const layer = join(dataRoot, "layer");
  mkdirSync(join(layer, "srv"), { recursive: true });
  writeFileSync(join(layer, "srv/file"), "content");
  const { Labels, Mountpoint } = await volumes.create({ Name: "data" });
  await populate("data", [layer], "/srv");
  t.mock.timers.tick(1000);
  assert.deepEqual([Labels, readdirSync(Mountpoint), stored()], [null, ["file"], 1]);
  await removeUnstored();
  t.mock.timers.tick(1000);
  assert.equal(stored(), 0);
});

test("a volume whose end could not be stored before the daemon's own does not come back with the next", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  await volumes.create({ Name: "data" });
  const full = t.mock.method(database, "durably", () => {
    throw new Error("disk I/O error");
  });
  await volumes.remove("data", false);
  full.mock.restore();
  const next = createVolumeService({ database, dataRoot, onEvent: () => {} });
  await next.start();
  assert.deepEqual((await next.list({})).Volumes, []);
  assert.deepEqual(readdirSync(join(dataRoot, "volumes")), []);
});

test("where neither a volume nor its end can be stored, the first error is told", async (t) => {
  const { durably } = database;
  let calls = 0;
  t.mock.method(database, "durably", function (this: Database, body: () => unknown) {
    if (++calls > 1) throw new Error("disk I/O error");
    return durably.call(this, body);
  });
  // In the place of its directory.
  writeFileSync(join(dataRoot, "volumes/data"), "");
  await assert.rejects(volumes.create({ Name: "data" }), { code: "EEXIST" });
  assert.deepEqual((await volumes.list({})).Volumes, []);
});

test("a removal that a crash cut short is finished, a directory without a row is adopted", async () => {
  mkdirSync(join(dataRoot, "volumes/.removed-old/_data"), { recursive: true });
  mkdirSync(join(dataRoot, "volumes/found/_data"), { recursive: true });
  await volumes.start();
  assert.ok(!existsSync(join(dataRoot, "volumes/.removed-old")));
  assert.equal((await volumes.inspect("found")).Name, "found");
});

test("prune takes anonymous volumes only, unless told otherwise", async () => {
  await volumes.create({ Name: "named" });
  const anonymous = await volumes.create({ Labels: { "com.docker.volume.anonymous": "" } });
  assert.match(anonymous.Name, /^[0-9a-f]{64}$/);
  assert.deepEqual((await volumes.prune({})).VolumesDeleted, [anonymous.Name]);
  assert.deepEqual((await volumes.prune({ all: ["true"] })).VolumesDeleted, ["named"]);
});

test("filters", async () => {
  await volumes.create({ Name: "one", Labels: { tier: "1" } });
  await volumes.create({ Name: "two" }, "c");
  const names = async (filters: Record<string, string[]>) =>
    (await volumes.list(filters)).Volumes.map(({ Name }) => Name);
  assert.deepEqual(await names({ label: ["tier=1"] }), ["one"]);
  assert.deepEqual(await names({ dangling: ["true"] }), ["one"]);
  assert.deepEqual(await names({ dangling: ["0"] }), ["two"]);
  assert.deepEqual(await names({ name: ["tw"] }), ["two"]);
  assert.deepEqual(await names({ name: ["^t", "^o.e$"] }), ["one", "two"]);
  assert.deepEqual(await names({ driver: ["other"] }), []);
  await assert.rejects(names({ colour: ["red"] }), /invalid filter 'colour'/);
  await assert.rejects(names({ "label!": ["tier"] }), /invalid filter 'label!'/);
  await assert.rejects(names({ dangling: ["maybe"] }), /invalid filter 'dangling=\[maybe\]'/);
});

const user = (container: string, destination = "/x"): VolumeUser => ({
  container,
  destination,
  readOnly: false,
  propagation: "",
});
const populate = (
  name: string,
  directories: string[],
  path: string,
  whiteouts: "overlay" | "aufs" = "overlay",
) => volumes.populate(name, user("c"), async () => ({ directories, whiteouts }), path);

test("a tmpfs volume is mounted for its first user and unmounted after the last", async () => {
  await volumes.create({
    Name: "mem",
    DriverOpts: { type: "tmpfs", device: "tmpfs", o: "size=1m,mode=700" },
  });
  const path = await volumes.mount("mem", user("c1"));
  await volumes.mount("mem", user("c2"));
  try {
    assert.ok(isMounted(path));
    await volumes.unmount("mem", user("c1"));
    assert.ok(isMounted(path));
  } finally {
    await volumes.unmount("mem", user("c2"));
  }
  assert.ok(!isMounted(path));
});

test("under a data root that is a link, what is mounted is known as well", async () => {
  const link = `${dataRoot}-link`;
  symlinkSync(dataRoot, link);
  try {
    volumes = createVolumeService({ database, dataRoot: link, onEvent: () => {} });
    await volumes.start();
    await volumes.create({ Name: "mem", DriverOpts: { type: "tmpfs", device: "tmpfs" } });
    const real = join(dataRoot, "volumes/mem/_data");
    assert.equal(await volumes.mount("mem", user("one")), join(link, "volumes/mem/_data"));
    await volumes.mount("mem", user("two"));
    const times = () => readMountInfo().filter(({ mountPoint }) => mountPoint === real).length;
    assert.equal(times(), 1);
    await volumes.unmount("mem", user("one"));
    await volumes.unmount("mem", user("two"));
    assert.equal(times(), 0);
  } finally {
    rmSync(link);
  }
});

test("a volume in which somebody has something mounted is not deleted with it", async () => {
  const behind = join(dataRoot, "behind");
  mkdirSync(behind);
  writeFileSync(join(behind, "precious"), "1");
  const { Mountpoint } = await volumes.create({ Name: "vol" });
  mkdirSync(join(Mountpoint, "deep"));
  execFileSync("mount", ["--bind", behind, join(Mountpoint, "deep")]);
  await volumes.remove("vol", false);
  assert.deepEqual(readdirSync(behind), ["precious"]);
  assert.deepEqual(readdirSync(join(dataRoot, "volumes")), []);
});

test("a removal that was cut short does not come back as an empty volume", async () => {
  await volumes.create({ Name: "half" });
  renameSync(join(dataRoot, "volumes/half"), join(dataRoot, "volumes/.removed-half"));
  database[Symbol.dispose]();
  await open();
  assert.deepEqual((await volumes.list({})).Volumes, []);
  assert.deepEqual(readdirSync(join(dataRoot, "volumes")), []);
});

test("what a removal could not delete of a former volume is in nobody's way", async () => {
  const left = join(dataRoot, "volumes/.removed-data/_data");
  mkdirSync(left, { recursive: true });
  writeFileSync(join(left, "file"), "of the former one");
  await volumes.create({ Name: "data" });
  await volumes.remove("data", false);
  assert.deepEqual((await volumes.list({})).Volumes, []);
  assert.ok(!existsSync(left));
});

test("two prunes at once", async () => {
  const first = volumes.prune({});
  await assert.rejects(volumes.prune({}), /a prune operation is already running/);
  await first;
});

test("an empty volume is filled with what the layers show, whiteouts and links respected", async () => {
  const upper = join(dataRoot, "upper");
  const lower = join(dataRoot, "lower");
  mkdirSync(join(lower, "srv/kept"), { recursive: true });
  mkdirSync(join(lower, "srv/opaque"), { recursive: true });
  writeFileSync(join(lower, "srv/kept/file"), "lower");
  writeFileSync(join(lower, "srv/gone"), "hidden by a whiteout");
  writeFileSync(join(lower, "srv/opaque/old"), "hidden by an opaque directory");
  writeFileSync(join(lower, "secret"), "outside");
  mkdirSync(join(upper, "srv/opaque"), { recursive: true });
  writeFileSync(join(upper, "srv/opaque/new"), "upper");
  symlinkSync("../../../../etc/passwd", join(upper, "srv/link"));
  execFileSync("mknod", [join(upper, "srv/gone"), "c", "0", "0"]);
  setXattr(join(upper, "srv/opaque"), "trusted.overlay.opaque", Buffer.from("y"));
  execFileSync("chown", ["12:34", join(lower, "srv/kept/file")]);
  utimesSync(join(lower, "srv/kept/file"), 1000, 2000);

  await volumes.create({ Name: "vol" });
  await populate("vol", [upper, lower], "/srv");
  const data = join(dataRoot, "volumes/vol/_data");
  assert.deepEqual(readdirSync(data).sort(), ["kept", "link", "opaque"]);
  assert.equal(readFileSync(join(data, "kept/file"), "utf8"), "lower");
  const status = lstatSync(join(data, "kept/file"));
  assert.deepEqual([status.uid, status.gid, status.mtimeMs], [12, 34, 2_000_000]);
  assert.deepEqual(readdirSync(join(data, "opaque")), ["new"]);
  assert.equal(readlinkSync(join(data, "link")), "../../../../etc/passwd");
});

test("AUFS's marks are respected, and no content", async () => {
  const [upper, lower] = ["upper", "lower"].map((name) => join(dataRoot, name)) as [string, string];
  for (const name of ["kept", "opaque", "gone"]) mkdirSync(join(lower, "srv", name), { recursive: true });
  for (const path of ["kept/file", "opaque/old", "gone/file", "file"])
    writeFileSync(join(lower, "srv", path), "");
  mkdirSync(join(upper, "srv/opaque"), { recursive: true });
  mkdirSync(join(upper, ".wh..wh.plnk"));
  for (const path of ["opaque/.wh..wh..opq", "opaque/new", ".wh.gone", ".wh.file"])
    writeFileSync(join(upper, "srv", path), "");
  await volumes.create({ Name: "vol" });
  await populate("vol", [upper, lower], "/srv", "aufs");
  const data = join(dataRoot, "volumes/vol/_data");
  assert.deepEqual(readdirSync(data, { recursive: true }).sort(), [
    "kept",
    "kept/file",
    "opaque",
    "opaque/new",
  ]);
  for (const path of ["/srv/gone", "/srv/.wh.gone"]) {
    const name = path.replaceAll("/", "-").slice(1);
    await volumes.create({ Name: name });
    await populate(name, [upper, lower], path, "aufs");
    assert.deepEqual(readdirSync(join(dataRoot, "volumes", name, "_data")), []);
  }
});

test("a mount point that leads out of the image's root finds nothing outside", async () => {
  const layer = join(dataRoot, "layer");
  mkdirSync(layer);
  symlinkSync("/etc", join(layer, "srv"));
  await volumes.create({ Name: "vol" });
  await populate("vol", [layer], "/srv");
  assert.deepEqual(readdirSync(join(dataRoot, "volumes/vol/_data")), []);
});

test("filled for its second user, a volume stays the directory that the first has mounted", async () => {
  const layer = join(dataRoot, "layer-of-two");
  mkdirSync(join(layer, "srv/sub"), { recursive: true, mode: 0o755 });
  writeFileSync(join(layer, "srv/sub/file"), "content");
  execFileSync("chown", ["12:34", join(layer, "srv")]);
  await volumes.create({ Name: "shared" });
  const data = join(dataRoot, "volumes/shared/_data");
  const { ino } = statSync(data);
  for (const container of ["first", "second"]) await volumes.create({ Name: "shared" }, container);
  await populate("shared", [layer], "/srv");
  assert.equal(statSync(data).ino, ino);
  assert.equal(statSync(data).uid, 12);
  assert.equal(readFileSync(join(data, "sub/file"), "utf8"), "content");
});

test("two containers made at once fill an empty volume once", async () => {
  const layer = join(dataRoot, "layer-at-once");
  mkdirSync(join(layer, "srv"), { recursive: true });
  writeFileSync(join(layer, "srv/file"), "content");
  const users = ["first", "second", "third"];
  for (const container of users) await volumes.create({ Name: "at-once" }, container);
  const data = join(dataRoot, "volumes/at-once/_data");
  const { ino } = statSync(data);
  await Promise.all(users.map(() => populate("at-once", [layer], "/srv")));
  assert.equal(readFileSync(join(data, "file"), "utf8"), "content");
  assert.equal(statSync(data).ino, ino);
  assert.deepEqual(readdirSync(join(dataRoot, "volumes/at-once")), ["_data"]);
});
