/**
 * Databases of every earlier format, opened by today's daemon: all that was there is there, and works. Their layers are made
 * anew, with the content of the image of today.
 */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { containerMigrations } from "#engine/containers/container-record.ts";
import { silentLogger } from "#errors/logger-types.ts";
import { imageMigrations } from "#images/image-service.ts";
import { networkMigrations } from "#networks/controller.ts";
import { Database } from "#state/database.ts";
import { openStorageDriver } from "#storage/open-driver.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { claimSubnet, type Subnet } from "#test/fixtures/subnet.ts";
import { volumeMigrations } from "#volumes/volume-rows.ts";

const FORMATS = join(import.meta.dirname, "../fixtures/state-formats");
const IMAGE = "berth/busybox";
const TAGGED = "example.com/team/tool:1.0";
let daemon: TestDaemon;
let second: Subnet;
/** Of the image's one layer. */
let content: string;
const ok = (...args: string[]) => daemon.ok(...args);

before(async () => {
  second = await claimSubnet(74);
  daemon = await TestDaemon.start({ subnet: 75, flags: ["--storage-driver", "overlay2"] });
  daemon.loadBusybox();
  content = join(daemon.directory, "content");
  const layer = ok("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", IMAGE);
  cpSync(layer, content, { recursive: true, verbatimSymlinks: true });
});
after(async () => {
  await daemon.stop();
  second.release();
});

/** The daemon's data root as one of that format left it. */
async function putBack(format: string): Promise<void> {
  const ids = ok("ps", "-aq").split("\n").filter(Boolean);
  if (ids.length > 0) ok("rm", "-f", "-v", ...ids);
  ok("network", "prune", "-f");
  await daemon.kill();
  for (const name of readdirSync(daemon.dataRoot)) {
    if (name !== "engine-id") rmSync(join(daemon.dataRoot, name), { recursive: true });
  }
  const [first, hex] = [daemon.gateway.replace(/\.1$/, ""), (n: number) => n.toString(16).padStart(2, "0")];
  const text = readFileSync(join(FORMATS, format), "utf8")
    .replaceAll("@RUN@", daemon.execRoot)
    .replaceAll("@BRIDGE@", daemon.bridge)
    .replaceAll("@FIRST@", first)
    .replaceAll("@SECOND@", `10.213.${second.number}`)
    .replaceAll("@FIRSTHEX@", `0ad5${hex(Number(first.split(".")[2]))}`)
    .replaceAll("@SECONDHEX@", `0ad5${hex(second.number)}`);
  using database = new DatabaseSync(join(daemon.dataRoot, "berth.db"));
  database.exec(text);
  await makeLayers(database);
}

async function makeLayers(database: DatabaseSync): Promise<void> {
  const driver = openStorageDriver({
    dataRoot: daemon.dataRoot,
    name: "overlay2",
    options: [],
    logger: silentLogger,
  });
  const layers = database.prepare("SELECT * FROM image_layer ORDER BY parent IS NOT NULL").all() as {
    cache_id: string;
    chain_id: string;
    parent: string | null;
  }[];
  const cacheOf = (chain: string | null) => layers.find(({ chain_id }) => chain_id === chain)?.cache_id;
  for (const { cache_id, parent } of layers) {
    await driver.create(cache_id, cacheOf(parent));
    if (parent === null) {
      cpSync(content, driver.diffPath(cache_id), { recursive: true, verbatimSymlinks: true });
    }
  }
  const containers = database
    .prepare(
      "SELECT c.id, i.top_chain FROM container c JOIN image i ON i.id = json_extract(c.record, '$.imageId')",
    )
    .all() as { id: string; top_chain: string }[];
  for (const { id, top_chain } of containers) {
    await driver.createWritable(id, cacheOf(top_chain), {});
    mkdirSync(join(daemon.dataRoot, "containers", id), { recursive: true });
  }
  await driver.close();
}

const formats = readdirSync(FORMATS).filter((name) => name.endsWith(".sql"));
for (const [index, format] of formats.entries()) {
  const number = index + 1;
  test(`${format}: everything is there, and works`, async () => {
    await putBack(format);
    const earlier = daemon.log().length;
    await daemon.boot();
    assert.doesNotMatch(daemon.log().slice(earlier), /level=error|damaged/);
    const names = ok("ps", "-a", "--format", "{{.Names}}").split("\n").sort();
    const networked = number >= 3;
    assert.deepEqual(names, [...(networked ? ["attached"] : []), "finished", "runs", "stopped", "web"]);
    const shown = (what: string, name: string) => ok("inspect", "-f", what, name);

    assert.equal(shown("{{.State.ExitCode}}", "finished"), "3");
    assert.match(shown("{{.Config.Env}}", "finished"), /GREETING=hello/);
    const again = daemon.docker("start", "-a", "finished");
    assert.deepEqual([again.code, again.stdout], [3, "hello\n"]);

    // It ran when the machine went.
    assert.equal(shown("{{.State.Status}} {{.State.ExitCode}}", "runs"), "exited 255");
    ok("start", "runs");
    assert.equal(ok("exec", "runs", "echo", "in it"), "in it");

    const web =
      "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Memory}} {{.Config.Labels.tier}} {{len .Mounts}}";
    assert.equal(shown(web, "web"), `on-failure ${64 << 20} front 2`);
    assert.match(shown("{{json .HostConfig.PortBindings}}", "web"), /"80\/tcp":\[\{"HostIp":"127.0.0.1"/);
    assert.equal(ok("start", "-a", "web"), "started");
    const stopped =
      "{{.Config.Tty}} {{.Config.Hostname}} {{.Config.User}} {{.Config.WorkingDir}} {{.State.Status}}";
    assert.equal(shown(stopped, "stopped"), "true box 1:1 /tmp created");

    assert.equal(shown("{{.Id}}", TAGGED), shown("{{.Id}}", IMAGE));
    assert.equal(ok("run", "--rm", TAGGED, "echo", "by the other name"), "by the other name");
    assert.equal(ok("volume", "inspect", "-f", "{{.Labels.kept}} {{.Driver}}", "notes"), "yes local");
    ok("run", "--rm", "-v", "notes:/n", IMAGE, "touch", "/n/written");
    if (number >= 2) {
      assert.equal(ok("volume", "inspect", "-f", "{{.Options.type}}", "scratch"), "tmpfs");
      assert.match(
        ok("run", "--rm", "-v", "scratch:/s", IMAGE, "mount"),
        /tmpfs on \/s type tmpfs.*size=1024k/,
      );
      assert.equal(ok("run", "--rm", "example.com/team/made:2", "echo", "committed"), "committed");
    }
    if (networked) {
      const subnet = "{{.Labels.n}} {{(index .IPAM.Config 0).Subnet}}";
      assert.equal(ok("network", "inspect", "-f", subnet, "backend"), `1 10.213.${second.number}.0/24`);
      assert.equal(daemon.docker("start", "-a", "attached").code, 0);
    }
    // Names are still taken, new things can be made, old ones removed.
    assert.match(daemon.refused("create", "--name", "web", IMAGE), /already in use/);
    ok("rm", "-f", "-v", ...names);
    if (networked) ok("network", "rm", "backend");
    ok("volume", "rm", "notes");
    ok("rmi", "-f", TAGGED, IMAGE, ...(number >= 2 ? ["example.com/team/made:2"] : []));
    assert.equal(ok("images", "-aq"), "");
  });
}

test("the last of the formats is at most a step behind today's", () => {
  const last = formats.at(-1) ?? "";
  const text = readFileSync(join(FORMATS, last), "utf8");
  for (const { area, steps } of [containerMigrations, imageMigrations, networkMigrations, volumeMigrations]) {
    const kept = new RegExp(`INSERT INTO migration VALUES\\('${area}',(\\d+)\\)`).exec(text)?.[1];
    assert.ok(
      Number(kept) >= steps.length - 1,
      `${area} has format ${steps.length} by now: keep a database of the one before in ${FORMATS}`,
    );
  }
});

test("a database that was made by the networks' first step as it was at first has got its index", () => {
  const text = readFileSync(join(FORMATS, "format-1.sql"), "utf8");
  const path = join(daemon.directory, "without-index.db");
  {
    using database = new DatabaseSync(path);
    database.exec(text);
    database.exec("DROP INDEX network_address_holder");
  }
  using database = Database.open(path, [networkMigrations]);
  assert.ok(database.get("SELECT 1 FROM sqlite_master WHERE name = 'network_address_holder'"));
});
