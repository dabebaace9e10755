/**
 * Damage to what the daemon remembers: each row costs its object only, the whole database at most minutes, and no container
 * that runs ends because of it.
 */
import assert from "node:assert/strict";
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { backup, DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
let path: string;
const ok = (...args: string[]) => daemon.ok(...args);
before(async () => {
  daemon = await TestDaemon.start({ subnet: 73 });
  path = join(daemon.dataRoot, "berth.db");
  daemon.loadBusybox();
});
after(() => daemon.stop());

/** The daemon is killed, its database changed, and another daemon started. */
async function damage(act: () => void): Promise<string> {
  await daemon.kill();
  const before = daemon.log().length;
  act();
  await daemon.boot();
  return daemon.log().slice(before);
}

function sql(text: string, ...values: string[]): void {
  const database = new DatabaseSync(path);
  try {
    database.prepare(text).run(...values);
  } finally {
    database.close();
  }
}

/** As the daemon makes it in quiet moments, of which a busy machine may have none. */
async function backUp(): Promise<void> {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    await backup(database, `${path}.ours`);
  } finally {
    database.close();
  }
  renameSync(`${path}.ours`, `${path}.backup`);
}

function withoutBackup(): void {
  rmSync(`${path}.backup`, { force: true });
}

const pidOf = (name: string) => Number(ok("inspect", "-f", "{{.State.Pid}}", name));
const kept = (part: string) =>
  readdirSync(join(daemon.dataRoot, "damaged")).filter((name) => name.includes(part));

test("a container's damaged record: it is shown, copied from and removed; one that runs goes on", async () => {
  ok("volume", "create", "its-volume");
  const running = ok(
    "run",
    "-d",
    "--name",
    "runs",
    "-v",
    "its-volume:/v",
    IMAGE,
    "sh",
    "-c",
    "echo kept >/file; exec sleep 1000",
  );
  ok("create", "--name", "other", IMAGE, "echo", "whole");
  await eventually(() => assert.equal(ok("exec", "runs", "cat", "/file"), "kept"));
  const pid = pidOf("runs");
  const log = await damage(() => {
    withoutBackup();
    sql("UPDATE container SET record = substr(record, 1, 500) WHERE name = 'runs'");
  });
  assert.match(log, /a container's record cannot be read and was replaced.*replaced=empty/);
  assert.equal(kept(`container-${running}`).length, 1);
  assert.equal(pidOf("runs"), pid);
  assert.equal(ok("exec", "runs", "cat", "/file"), "kept");
  assert.equal(ok("start", "-a", "other"), "whole");
  // Its name is still its own.
  assert.match(daemon.refused("create", "--name", "runs", IMAGE), /already in use/);
  ok("stop", "-t", "0", "runs");
  assert.match(
    daemon.refused("start", "runs"),
    /cannot be started: its record was damaged and is kept as .*container-/,
  );
  assert.equal(daemon.docker("cp", "runs:/file", "-").code, 0);
  ok("rm", "runs");
  ok("volume", "rm", "its-volume");
  ok("run", "--name", "runs", IMAGE, "true");
  ok("rm", "runs", "other");
});

test("with a backup the container is as it was", async () => {
  ok("create", "--name", "backed", "--label", "a=b", IMAGE, "echo", "from before");
  // Made a second after what was last written.
  withoutBackup();
  await damage(() => undefined);
  ok("create", "--name", "nudge", IMAGE);
  await eventually(() => assert.ok(existsSync(`${path}.backup`)));
  await backUp();
  const log = await damage(() => sql("UPDATE container SET record = '[]' WHERE name = 'backed'"));
  assert.match(log, /it is no JSON object.*replaced="from the backup"/);
  assert.equal(ok("start", "-a", "backed"), "from before");
  ok("rm", "backed", "nudge");
});

test("image, network and volume: the damaged one is set aside, the others work, the name is free or refused", async () => {
  ok("tag", IMAGE, "again:1");
  ok("network", "create", "spoiled");
  ok("network", "create", "sound");
  ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "spoiled");
  ok("volume", "create", "--label", "a=b", "unlabelled");
  const image = ok("inspect", "-f", "{{.Id}}", IMAGE);
  const log = await damage(() => {
    withoutBackup();
    sql("UPDATE image SET config = CAST(substr(config, 1, 100) AS BLOB) WHERE id = ?", image);
    sql("UPDATE network SET config = '{' WHERE name = 'spoiled'");
    sql("UPDATE volume SET options = 'x' WHERE name = 'spoiled'");
    sql("UPDATE volume SET labels = 'x' WHERE name = 'unlabelled'");
  });
  for (const kind of ["image", "network-spoiled", "volume-spoiled", "volume-unlabelled"]) {
    assert.equal(kept(`-${kind}`).length, 1, kind);
    assert.match(log, new RegExp(`damaged.*-${kind}`));
  }
  assert.equal(ok("images", "-q"), "");
  assert.match(daemon.refused("run", "--pull", "never", IMAGE), /No such image/);
  daemon.loadBusybox();
  assert.equal(ok("inspect", "-f", "{{.Id}}", IMAGE), image);
  assert.equal(ok("network", "ls", "-q", "-f", "name=spoiled"), "");
  ok("network", "create", "spoiled");
  assert.equal(ok("run", "--rm", "--network", "spoiled", IMAGE, "echo", "on it"), "on it");
  assert.equal(ok("run", "--rm", "--network", "sound", IMAGE, "echo", "on it"), "on it");
  assert.match(
    daemon.refused("run", "--rm", "-v", "spoiled:/v", IMAGE, "true"),
    /volume spoiled cannot be used: its options were damaged, see .*volume-spoiled/,
  );
  assert.equal(ok("run", "--rm", "-v", "unlabelled:/v", IMAGE, "echo", "mounted"), "mounted");
  ok("volume", "rm", "spoiled", "unlabelled");
  ok("network", "rm", "spoiled", "sound");
});

test("addresses that a container holds by a damaged record are given to nobody while it runs", async () => {
  const id = ok("run", "-d", "--name", "holder", IMAGE, "sleep", "1000");
  const address = ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "holder");
  await damage(() => sql("UPDATE network_sandbox SET held = '{\"x\"' WHERE container_id = ?", id));
  const others = Array.from({ length: 3 }, () => ok("run", "--rm", IMAGE, "hostname", "-i"));
  assert.ok(!others.includes(address), `${address} was given to another`);
  await damage(() => undefined);
  assert.notEqual(ok("run", "--rm", IMAGE, "hostname", "-i"), address);
  ok("rm", "-f", "holder");
});

for (const [what, spoil, log] of [
  [
    "its middle overwritten",
    () => overwrite(0.2, 0.8),
    /is damaged and was made anew.*damage=(malformed|not-a-database)/,
  ],
  [
    "its header overwritten",
    () => overwrite(0, 0.001),
    /is damaged and was made anew.*damage=not-a-database/,
  ],
  [
    "cut to nothing, its log gone",
    () => {
      truncateSync(path, 0);
      rmSync(`${path}-wal`, { force: true });
    },
    /is damaged and was made anew.*damage=empty/,
  ],
] as const) {
  test(`the database ${what}: containers run on, and what was there minutes ago is there`, async () => {
    withoutBackup();
    await damage(() => undefined);
    ok("volume", "create", "--label", "a=b", "labelled");
    ok("create", "--name", "old", IMAGE, "echo", "old one");
    const id = ok(
      "run",
      "-d",
      "--name",
      "server",
      "-p",
      "80",
      IMAGE,
      "sh",
      "-c",
      "while true; do echo -n; sleep 0.1; done",
    );
    await backUp();
    const pid = pidOf("server");
    // Too young for any backup.
    const young = ok("run", "-d", IMAGE, "sleep", "1000");
    const youngPid = pidOf(young);
    const told = await damage(spoil);
    assert.match(told, log);
    assert.equal(kept("berth.db.").length > 0, true);
    process.kill(pid, 0);
    process.kill(youngPid, 0);
    const names = ok("ps", "--no-trunc", "--format", "{{.ID}}").split("\n");
    assert.ok(names.includes(id) && names.includes(young), "a container that runs is not shown");
    assert.equal(pidOf(id), pid);
    assert.equal(ok("start", "-a", "old"), "old one");
    assert.equal(ok("volume", "inspect", "-f", "{{.Labels.a}}", "labelled"), "b");
    assert.equal(ok("run", "--rm", IMAGE, "echo", "new one"), "new one");
    ok("rm", "-f", id, young, "old");
    ok("volume", "rm", "labelled");
    assert.throws(() => process.kill(pid, 0));
    for (const name of kept("")) rmSync(join(daemon.dataRoot, "damaged", name));
    // Nothing is left to be repaired.
    assert.doesNotMatch(await damage(() => undefined), /damaged/);
    assert.equal(ok("run", "--rm", IMAGE, "echo", "new one"), "new one");
  });
}

function overwrite(from: number, to: number): void {
  // Out of the log, which would mend it.
  sql("PRAGMA wal_checkpoint(TRUNCATE)");
  const size = statSync(path).size;
  const fd = openSync(path, "r+");
  const length = Math.ceil(size * (to - from));
  writeSync(fd, Buffer.alloc(length, 0xa5), 0, length, Math.floor(size * from));
  closeSync(fd);
  assert.ok(readFileSync(path).includes(Buffer.alloc(Math.min(length, 1000), 0xa5)));
}
