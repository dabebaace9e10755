/** The daemon is killed while containers run: nothing is lost. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 3 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

test("SIGKILL with ten containers, some printing, some ending: all accounted for, every line once", async () => {
  const lines = 60;
  const printing = [0, 1, 2, 3];
  const ending = [4, 5, 6];
  const sleeping = [7, 8, 9];
  const start = (n: number, script: string) => {
    const ran = daemon.docker("run", "-d", "--name", `c${n}`, IMAGE, "sh", "-c", script);
    assert.equal(ran.code, 0, ran.stderr);
  };
  for (const n of sleeping) start(n, "sleep 1000");
  for (const n of printing)
    start(n, `i=0; while [ $i -lt ${lines} ]; do echo line $i; i=$((i+1)); sleep 0.05; done; exit ${n}`);
  for (const n of ending) start(n, `sleep 1; echo bye; exit ${n}`);
  await daemon.kill("SIGKILL");
  await sleep(1500);
  await daemon.boot();
  for (const n of ending) {
    assert.equal(daemon.docker("wait", `c${n}`).stdout.trim(), String(n));
    assert.equal(daemon.docker("logs", `c${n}`).stdout, "bye\n");
  }
  for (const n of printing) {
    assert.equal(daemon.docker("wait", `c${n}`).stdout.trim(), String(n));
    const expected = Array.from({ length: lines }, (_, at) => `line ${at}\n`).join("");
    assert.equal(daemon.docker("logs", `c${n}`).stdout, expected);
  }
  for (const n of sleeping) {
    assert.equal(daemon.docker("inspect", "-f", "{{.State.Running}}", `c${n}`).stdout.trim(), "true");
    assert.equal(daemon.docker("exec", `c${n}`, "echo", "alive").stdout, "alive\n");
    assert.equal(daemon.docker("stop", "-t", "0", `c${n}`).code, 0);
  }
});

test("a published port works on after a restart and is given back after the stop", async () => {
  daemon.ok("run", "-d", "--name", "web", "-p", "80", IMAGE, "httpd", "-f", "-h", "/etc");
  const port = daemon.ok("port", "web", "80").replace(/^.*:/s, "");
  await daemon.kill("SIGKILL");
  await daemon.boot();
  await eventually(async () => {
    const fetched = await fetch(`http://127.0.0.1:${port}/passwd`);
    assert.match(await fetched.text(), /root/);
  });
  const second = daemon.docker("run", "--rm", "-p", `${port}:80`, IMAGE, "true");
  assert.match(second.stderr, /port is already allocated/);
  daemon.ok("rm", "-f", "web");
  daemon.ok("run", "--rm", "-p", `${port}:80`, IMAGE, "true");
});

test("names, volumes and images are there after an orderly restart", async () => {
  daemon.docker("run", "--name", "keeper", "-v", "kept:/k", IMAGE, "sh", "-c", "echo data > /k/file; exit 4");
  await daemon.kill("SIGTERM");
  await daemon.boot();
  assert.equal(daemon.docker("inspect", "-f", "{{.State.ExitCode}}", "keeper").stdout.trim(), "4");
  assert.equal(daemon.docker("run", "--rm", "-v", "kept:/k", IMAGE, "cat", "/k/file").stdout, "data\n");
  assert.match(daemon.docker("images").stdout, /berth\/busybox/);
});

test("a daemon killed between a start and its record: the next one knows the process, and runs commands beside it", async () => {
  daemon.ok("run", "-d", "--name", "unrecorded", IMAGE, "sleep", "1000");
  await daemon.kill("SIGKILL");
  const database = new DatabaseSync(join(daemon.dataRoot, "berth.db"));
  const row = database.prepare("SELECT id, record FROM container WHERE name = 'unrecorded'").get();
  const record = JSON.parse(String(row?.record));
  Object.assign(record.state, {
    Status: "created",
    Running: false,
    Pid: 0,
    StartedAt: "0001-01-01T00:00:00Z",
  });
  record.startTicks = "";
  database
    .prepare("UPDATE container SET record = ? WHERE id = ?")
    .run(JSON.stringify(record), String(row?.id));
  database.close();
  await daemon.boot();
  assert.equal(daemon.ok("inspect", "-f", "{{.State.Status}}", "unrecorded"), "running");
  assert.equal(daemon.ok("exec", "unrecorded", "echo", "beside it"), "beside it");
  daemon.ok("rm", "-f", "unrecorded");
});

test("a pause or an unpause that the daemon's end cut in two: half a pause is undone, half an unpause finished", async () => {
  const state = (name: string) => daemon.ok("inspect", "-f", "{{.State.Status}}", name);
  const ids = ["half-paused", "half-unpaused", "paused"].map((name) =>
    daemon.ok("run", "-d", "--name", name, IMAGE, "sleep", "1000"),
  );
  daemon.ok("pause", "half-unpaused", "paused");
  await daemon.kill("SIGKILL");
  const freezer = ids.map((id) => `/sys/fs/cgroup/freezer/berth/${id}/freezer.state`);
  writeFileSync(freezer[0] as string, "FROZEN");
  writeFileSync(freezer[1] as string, "THAWED");
  await daemon.boot();
  assert.deepEqual(["half-paused", "half-unpaused", "paused"].map(state), ["running", "running", "paused"]);
  assert.deepEqual(
    freezer.map((file) => readFileSync(file, "utf8").trim()),
    ["THAWED", "THAWED", "FROZEN"],
  );
  assert.equal(daemon.ok("exec", "half-paused", "echo", "goes on"), "goes on");
  daemon.ok("rm", "-f", "half-paused", "half-unpaused", "paused");
});

test("what a commit froze goes on when its daemon has gone", async () => {
  const id = daemon.ok(
    "run",
    "-d",
    "--name",
    "committed",
    IMAGE,
    "sh",
    "-c",
    "head -c 200000000 /dev/zero >/big; sleep 1000",
  );
  await eventually(() =>
    assert.equal(daemon.ok("exec", "committed", "stat", "-c", "%s", "/big"), "200000000"),
  );
  const frozen = `/sys/fs/cgroup/freezer/berth/${id}/freezer.state`;
  // On a busy machine a commit may be over before it is looked at.
  let ended: number | null = 0;
  for (let attempt = 0; attempt < 20 && ended === 0; attempt++) {
    const commit = daemon.dockerAsync("commit", "committed", `half:${attempt}`);
    let over = false;
    void commit.then(() => {
      over = true;
    });
    while (!over && readFileSync(frozen, "utf8").trim() === "THAWED") await sleep(1);
    await daemon.kill("SIGKILL");
    ended = (await commit).code;
    if (ended === 0) await daemon.boot();
  }
  assert.notEqual(ended, 0);
  assert.equal(readFileSync(frozen, "utf8").trim(), "FROZEN");
  await daemon.boot();
  assert.equal(daemon.ok("inspect", "-f", "{{.State.Status}}", "committed"), "running");
  assert.equal(readFileSync(frozen, "utf8").trim(), "THAWED");
  daemon.ok("rm", "-f", "committed");
});
