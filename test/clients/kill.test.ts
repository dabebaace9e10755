/** The daemon is killed at arbitrary moments of making and removing: the next one leaves nothing half-made behind. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { setImmediate as immediate, setTimeout as sleep } from "node:timers/promises";
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
    .filter((name) => name !== "l" && !name.startsWith(".spare-"))
    .sort();
const listed = () => daemon.docker("ps", "-aq", "--no-trunc").stdout.split("\n").filter(Boolean);
const linksOnBridge = () => readdirSync(`/sys/class/net/${daemon.bridge}/brif`);

/** Control groups of containers, but for those that another daemon's shims keep: they come and go meanwhile. */
function cgroups(): string[] {
  const parent = "/sys/fs/cgroup/memory/berth";
  const names = existsSync(parent) ? readdirSync(parent).filter((name) => /^[0-9a-f]{64}$/.test(name)) : [];
  return names.filter((name) => !pidsIn(join(parent, name)).some(isOfAnother));
}

/** None of one that has gone. */
function pidsIn(group: string): string[] {
  try {
    return readFileSync(join(group, "cgroup.procs"), "utf8").split("\n").filter(Boolean);
  } catch {
    return [];
  }
}

/** Its shim is called as the zygote that made it, which has its daemon's socket in its command line. */
function isOfAnother(pid: string): boolean {
  try {
    const parent = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    const command = readFileSync(`/proc/${parent}/cmdline`, "utf8");
    return command.includes("launcher.sock") && !command.includes(daemon.execRoot);
  } catch {
    return false; // It ended in between.
  }
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
    // Whatever is listed is whole: it can be inspected, and its layers are there.
    for (const id of listed()) {
      if (daemon.docker("inspect", id).code === 0 && layers().includes(id)) continue;
      // One of --rm may have come to its end meanwhile.
      assert.ok(!listed().includes(id), `${id} is listed, but not whole`);
    }
  }
  await eventually(() => {
    const left = listed();
    if (left.length > 0) assert.equal(daemon.docker("rm", "-f", "-v", ...left).code, 0);
  });
  await comes("an overlay2 with nothing but image layers", () => layers().join() === imageLayers.join());
  await comes("no container directory", () => readdirSync(join(daemon.dataRoot, "containers")).length === 0);
  await comes("no run directory", () => readdirSync(join(daemon.execRoot, "containers")).length === 0);
  await comes("no link on the bridge", () => linksOnBridge().length === 0);
  await comes("no cgroup", () => cgroups().every((name) => foreignCgroups.has(name)));
  assert.equal(daemon.docker("run", "--rm", IMAGE, "echo", "fine").stdout, "fine\n");
});

async function makeExec(
  container: string,
  exec: { Cmd: string[] } & Record<string, unknown>,
): Promise<string> {
  const { body } = await daemon.api("POST", `/containers/${container}/exec`, exec);
  return (JSON.parse(body) as { Id: string }).Id;
}

const execPlace = (id: string) => join(daemon.execRoot, "execs", id.slice(0, 24));

/** A client that begins it, says something, and stays for as long as the daemon does. */
function stayWith(id: string): Socket {
  const socket = connect(daemon.socket);
  socket.on("error", () => {});
  const body = JSON.stringify({ Detach: false, Tty: false });
  const head = `POST /exec/${id}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp`;
  socket.write(
    `${head}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}said\n`,
  );
  return socket;
}

test("a removal that was begun is finished as it was asked for: with its own volumes, or without them", async () => {
  const make = (name: string) => {
    const id = daemon.ok("create", "--name", name, "-v", "/own", IMAGE, "true");
    return { id, volume: daemon.ok("inspect", "-f", "{{(index .Mounts 0).Name}}", name) };
  };
  const [with_, without] = [make("with"), make("without")];
  await daemon.kill("SIGKILL");
  const database = new DatabaseSync(join(daemon.dataRoot, "berth.db"));
  for (const [{ id }, takesVolumes] of [
    [with_, true],
    [without, false],
  ] as const) {
    const change = JSON.stringify({ phase: "removing", name: "", takesVolumes });
    database
      .prepare(
        "UPDATE container SET phase = 'removing', name = NULL, record = json_patch(record, ?) WHERE id = ?",
      )
      .run(change, id);
  }
  database.close();
  await daemon.boot();
  assert.equal(daemon.ok("ps", "-aq"), "");
  await comes("the end of one volume", () => daemon.ok("volume", "ls", "-q") === without.volume);
  await comes("the end of all layers of containers", () => !layers().some((name) => name.includes(with_.id)));
  assert.equal(daemon.ok("volume", "ls", "-q"), without.volume);
  daemon.ok("volume", "rm", without.volume);
});

test("commands with input end with the daemon that was killed while it started them", async () => {
  daemon.ok("run", "-d", "--name", "host", IMAGE, "sleep", "1000");
  for (let round = 0; round < 4; round++) {
    const exec = { AttachStdin: true, AttachStdout: true, Cmd: ["cat"] };
    const ids = await Promise.all(Array.from({ length: 8 }, () => makeExec("host", exec)));
    const clients = ids.map(stayWith);
    // Between a shim that listens and its attach is next to no time: whoever comes first, the others are under way.
    const listens = (id: string) => existsSync(join(execPlace(id), "shim.sock"));
    for (const end = Date.now() + 60_000; !ids.some(listens); await immediate())
      assert.ok(Date.now() < end, `no shim came\n${daemon.log()}`);
    process.kill(daemon.pid, "SIGSTOP");
    // Frozen it goes on for nobody, and what it has begun does.
    if (round % 2 === 0) await sleep(50);
    await daemon.kill("SIGKILL");
    for (const client of clients) client.destroy();
    await daemon.boot();
    await comes("a shim of the container alone", () => daemon.shims().length === 1);
  }
});

test("a command's terminal that nobody was ever attached to hangs up, others go on", async () => {
  const exec = { Tty: true, AttachStdin: true, AttachStdout: true, Cmd: ["sleep", "1000"] };
  const ids = await Promise.all([makeExec("host", exec), makeExec("host", exec)]);
  for (const id of ids) await daemon.api("POST", `/exec/${id}/start`, { Detach: true, Tty: true });
  await comes("three shims", () => daemon.shims().length === 3);
  // As a daemon leaves it that is killed between the start and its client's attach.
  writeFileSync(join(execPlace(ids[0] ?? ""), "unseen"), "");
  await daemon.kill("SIGKILL");
  await daemon.boot();
  await comes("the end of that one", () => daemon.shims().length === 2);
  assert.ok(existsSync(execPlace(ids[1] ?? "")));
  daemon.ok("rm", "-f", "host");
  await comes("no shim", () => daemon.shims().length === 0);
});
