/**
 * The daemon on the devicemapper driver: the walk-throughs of its documentation, sizes, and that running containers outlive
 * the daemon's end. Runs in the virtual machine.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { LoopDevice } from "#kernel/block-devices.ts";
import { DeviceMapper, hasDeviceMapper } from "#kernel/device-mapper.ts";
import { readMountInfo } from "#kernel/mountinfo.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const IMAGE = "berth/busybox";
const skip = !hasDeviceMapper() && "needs a device mapper in the kernel";

interface Inspected {
  State: { Pid: number; Running: boolean };
  GraphDriver: { Name: string; Data: Record<string, string> | null };
}

/** A daemon with its own data root. */
class Daemon {
  readonly root: string = mkdtempSync(join(tmpdir(), "berth-dm-"));
  readonly #options: string[];
  #process: ChildProcess | undefined;

  constructor(...options: string[]) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const at = (name: string) => join(this.root, name);
    const roots = ["--data-root", at("data"), "--exec-root", at("run"), "--pidfile", at("pid")];
    this.#process = spawn(
      join(ROOT, "bin/berthd"),
      [...roots, "-H", `unix://${at("sock")}`, "--bridge", "none", ...this.#options],
      { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, BERTH_NO_SETUP: "1" } },
    );
    await eventually(async () => assert.equal((await this.api("GET", "/_ping")).status, 200));
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const ended = new Promise((done) => this.#process?.once("exit", done));
    this.#process?.kill(signal);
    await ended;
    rmSync(join(this.root, "sock"), { force: true });
  }

  api(method: string, path: string, body?: object): Promise<{ status: number; bytes: Buffer }> {
    return new Promise((done, failed) => {
      const raw = body instanceof Buffer ? body : undefined;
      const type = raw === undefined ? "application/json" : "application/x-tar";
      const headers = body === undefined ? {} : { "Content-Type": type };
      const socketPath = join(this.root, "sock");
      const sent = request({ socketPath, method, path: `/v1.44${path}`, headers }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("end", () => done({ status: answer.statusCode ?? 0, bytes: Buffer.concat(chunks) }));
      });
      sent.on("error", failed);
      sent.end(raw ?? (body === undefined ? undefined : JSON.stringify(body)));
    });
  }

  /** The answer's document; fails for anything but success. */
  async ok<T = unknown>(method: string, path: string, body?: object): Promise<T> {
    const { status, bytes } = await this.api(method, path, body);
    const text = bytes.toString();
    assert.ok(status < 300, `${method} ${path}: ${status} ${text}`);
    return (text === "" || text[0] !== "{" ? text : JSON.parse(text.split("\n")[0] ?? "")) as T;
  }

  async load(): Promise<void> {
    const archive = readFileSync(join(ROOT, "build/busybox.tar"));
    const { status, bytes } = await this.api("POST", "/images/load", archive);
    assert.equal(status, 200, bytes.toString());
  }

  async create(script: string, { image = IMAGE, size = "" } = {}): Promise<string> {
    const storage = size === "" ? {} : { StorageOpt: { size } };
    const body = {
      Image: image,
      Cmd: ["sh", "-c", script],
      HostConfig: { NetworkMode: "none", ...storage },
      Tty: true,
    };
    return (await this.ok<{ Id: string }>("POST", "/containers/create", body)).Id;
  }

  async started(script: string, options = {}): Promise<string> {
    const id = await this.create(script, options);
    await this.ok("POST", `/containers/${id}/start`);
    return id;
  }

  /** What a container that ends by itself says. */
  async run(script: string, options = {}): Promise<string> {
    const id = await this.started(script, options);
    await this.ok("POST", `/containers/${id}/wait`);
    const { bytes } = await this.api("GET", `/containers/${id}/logs?stdout=1`);
    await this.ok("DELETE", `/containers/${id}`);
    return bytes.toString().replaceAll("\r", "");
  }

  inspect(id: string): Promise<Inspected> {
    return this.ok("GET", `/containers/${id}/json`);
  }

  /** What its devices are named after. */
  async poolName(): Promise<string> {
    const { DriverStatus } = await this.ok<{ DriverStatus: [string, string][] }>("GET", "/info");
    return new Map(DriverStatus).get("Pool Name") ?? "";
  }

  /** Mounts of layers on the host. */
  mounts(): string[] {
    const home = join(this.root, "data/devicemapper/mnt/");
    return readMountInfo()
      .map(({ mountPoint }) => mountPoint)
      .filter((path) => path.startsWith(home))
      .map((path) => path.slice(home.length));
  }
}

const small = (fileSystem: string, base: string) =>
  [`dm.fs=${fileSystem}`, `dm.basesize=${base}`, "dm.loopdatasize=3G", "dm.loopmetadatasize=16M"].flatMap(
    (option) => ["--storage-opt", option],
  );

describe("berthd on devicemapper", { skip }, () => {
  const daemon = new Daemon("-s", "devicemapper", ...small("ext4", "128M"));
  before(async () => {
    await daemon.start();
    await daemon.load();
  });
  after(async () => {
    await daemon.end("SIGTERM");
    rmSync(daemon.root, { recursive: true });
  });

  test("docker info on loop-lvm, with its warning", async () => {
    const info = await daemon.ok<{ Driver: string; DriverStatus: [string, string][]; Warnings: string[] }>(
      "GET",
      "/info",
    );
    assert.equal(info.Driver, "devicemapper");
    const pairs = new Map(info.DriverStatus);
    assert.match(pairs.get("Pool Name") ?? "", /^docker-.*-pool$/);
    assert.equal(pairs.get("Backing Filesystem"), "ext4");
    assert.match(
      info.Warnings.join("\n"),
      /WARNING: devicemapper: usage of loopback devices is strongly discouraged/,
    );
  });

  test("a container's files are seen in its layer while it runs, and its mount goes with it", async () => {
    const script = "echo hello >/made; rm /etc/group; echo more >>/etc/passwd; sync; echo ready; sleep 1000";
    const id = await daemon.started(script);
    const { GraphDriver } = await daemon.inspect(id);
    assert.equal(GraphDriver.Name, "devicemapper");
    assert.match(GraphDriver.Data?.DeviceName ?? "", new RegExp(`^docker-.*-${id}$`));
    const root = join(daemon.root, "data/devicemapper/mnt", id, "rootfs");
    await eventually(() => assert.equal(readFileSync(join(root, "made"), "utf8"), "hello\n"));
    await eventually(() => assert.match(readFileSync(join(root, "etc/passwd"), "utf8"), /more\n$/));
    assert.equal(existsSync(join(root, "etc/group")), false);
    const changes = JSON.parse((await daemon.api("GET", `/containers/${id}/changes`)).bytes.toString());
    const paths = changes.map(({ Path, Kind }: { Path: string; Kind: number }) => `${"CAD"[Kind]} ${Path}`);
    assert.deepEqual(paths.sort(), ["A /made", "C /etc", "C /etc/passwd", "D /etc/group"]);
    const archive = await daemon.api("GET", `/containers/${id}/archive?path=/made`);
    assert.ok(archive.bytes.includes("hello\n"));
    await daemon.ok("POST", `/containers/${id}/kill`);
    await eventually(() => assert.deepEqual(daemon.mounts(), []));
    // Of a stopped one, too.
    const later = await daemon.api("GET", `/containers/${id}/archive?path=/made`);
    assert.ok(later.bytes.includes("hello\n"));
    await daemon.ok("DELETE", `/containers/${id}`);
    await eventually(() => assert.deepEqual(daemon.mounts(), []));
  });

  test("a container is stopped by its size while its neighbours go on", async () => {
    const fill =
      "dd if=/dev/zero of=/file bs=1M count=150 2>&1 | grep -o 'No space left on device\\|150+0 records out'";
    const neighbour = await daemon.started("while sleep 0.1; do date >/now; done");
    assert.equal(await daemon.run(fill), "No space left on device\n");
    assert.equal(await daemon.run(fill, { size: "256M" }), "150+0 records out\n");
    assert.equal((await daemon.inspect(neighbour)).State.Running, true);
    await daemon.ok("DELETE", `/containers/${neighbour}?force=1`);
    const { status, bytes } = await daemon.api("POST", "/containers/create", {
      Image: IMAGE,
      HostConfig: { StorageOpt: { size: "10M" } },
    });
    assert.equal(status, 400);
    assert.match(bytes.toString(), /devmapper: Container size cannot be smaller than 134\.2MB/);
  });

  test("running containers outlive the daemon, however it ends", async () => {
    const busy = "while sleep 0.1; do date >/now; done";
    const [stays, ends] = [await daemon.started(busy), await daemon.started(busy)];
    const { Pid } = (await daemon.inspect(stays)).State;
    const runsOn = async () => {
      const { State } = await daemon.inspect(stays);
      assert.deepEqual([State.Running, State.Pid], [true, Pid]);
    };
    await daemon.end("SIGTERM");
    await daemon.start();
    await runsOn();
    assert.deepEqual(daemon.mounts().sort(), [stays, ends].sort());
    const ending = (await daemon.inspect(ends)).State.Pid;
    await daemon.end("SIGKILL");
    // It ends while no daemon is there.
    process.kill(ending, "SIGKILL");
    await eventually(() => assert.equal(existsSync(`/proc/${ending}`), false));
    await daemon.start();
    await runsOn();
    await eventually(() => assert.deepEqual(daemon.mounts(), [stays]));
    for (const id of [stays, ends]) await daemon.ok("DELETE", `/containers/${id}?force=1`);
    await eventually(() => assert.deepEqual(daemon.mounts(), []));
    using mapper = new DeviceMapper();
    await eventually(async () => {
      const own = (await daemon.poolName()).replace(/pool$/, "");
      const active = (await mapper.list()).filter((name) => name.startsWith(own) && !name.endsWith("-pool"));
      assert.deepEqual(active, []);
    });
  });

  test("container starts, first writes and reads beside overlay2's", async () => {
    const other = new Daemon("-s", "overlay2");
    await other.start();
    await other.load();
    try {
      const [own = 0, overlay2 = 0] = await startTimes(daemon, other);
      tellBoth("a container's start", own, overlay2);
      const [here, there] = [await fileTimes(daemon), await fileTimes(other)];
      for (const what of Object.keys(fileWork)) tellBoth(what, here[what] ?? 0, there[what] ?? 0);
    } finally {
      await other.end("SIGTERM");
      rmSync(other.root, { recursive: true });
    }
    console.log("note: driver devicemapper (loop-lvm, ext4) ran containers under a daemon");
  });
});

describe("berthd on direct-lvm", { skip: skip || (!existsSync("/bin/lvm") && "needs lvm2") }, () => {
  test("a bare device becomes the pool, with xfs in it", async () => {
    const file = join(mkdtempSync(join(tmpdir(), "berth-lvm-")), "disk");
    writeFileSync(file, "");
    truncateSync(file, 2 * 1024 ** 3);
    using device = LoopDevice.attach(file);
    const options = [`dm.directlvm_device=${device.path}`, "dm.thinp_percent=90", "dm.thinp_metapercent=2"];
    const daemon = new Daemon(
      "-s",
      "devicemapper",
      ...options.flatMap((option) => ["--storage-opt", option]),
      ...small("xfs", "320M"),
    );
    await daemon.start();
    await daemon.load();
    const { DriverStatus } = await daemon.ok<{ DriverStatus: [string, string][] }>("GET", "/info");
    const pairs = new Map(DriverStatus);
    assert.equal(pairs.get("Pool Name"), "docker-thinpool");
    assert.equal(pairs.get("Backing Filesystem"), "xfs");
    assert.equal(pairs.get("Data loop file"), undefined);
    assert.equal(await daemon.run("echo $((1 + 1)) >/file; cat /file"), "2\n");
    await daemon.end("SIGTERM");
    console.log("note: driver devicemapper (direct-lvm, xfs) ran containers under a daemon");
  });
});

/** Milliseconds from the request to the answer, the middle of some; what each daemon does beforehand and afterwards is over. */
function tellBoth(what: string, here: number, there: number): void {
  const text = `${what}: devicemapper ${here.toFixed(0)} ms, overlay2 ${there.toFixed(0)} ms`;
  console.log(`note: ${text} (${(here / there).toFixed(2)} times)`);
}

/** By read(2): busybox's cat would have the kernel move pages to /dev/null, which looks at none of them. */
const read = "dd if=/large of=/dev/null bs=64k 2>/dev/null";

/** With a file of the image's: what is done before, and what is timed. */
const fileWork: Record<string, readonly [before: string, timed: string]> = {
  "the first write to a file of 32 MiB": [":", "echo >>/large"],
  "its first read": [":", read],
  "ten more": [read, `for i in $(seq 10); do ${read}; done`],
};

/** Medians of five each: ms, to the precision of /proc/uptime. */
async function fileTimes(daemon: Daemon): Promise<Record<string, number>> {
  const id = await daemon.started("dd if=/dev/urandom of=/large bs=1M count=32");
  await daemon.ok("POST", `/containers/${id}/wait`);
  await daemon.ok("POST", `/commit?container=${id}&repo=large`);
  await daemon.ok("DELETE", `/containers/${id}`);
  const found: Record<string, number> = {};
  const clock = "read up _ </proc/uptime; echo $up";
  for (const [what, [earlier, timed]] of Object.entries(fileWork)) {
    const times: number[] = [];
    for (let count = 0; count < 5; count++) {
      const said = await daemon.run(`${earlier}; ${clock}; ${timed}; ${clock}`, { image: "large" });
      const [from = 0, to = 0] = said.trim().split("\n").map(Number);
      times.push((to - from) * 1000);
    }
    found[what] = times.sort((a, b) => a - b)[2] ?? 0;
  }
  return found;
}

/** Medians of eleven starts each, in turn: ms. */
async function startTimes(...daemons: Daemon[]): Promise<number[]> {
  const runs = 11;
  const made: { daemon: Daemon; ids: string[]; times: number[] }[] = [];
  for (const daemon of daemons) {
    const ids: string[] = [];
    for (let count = 0; count < runs; count++) ids.push(await daemon.create("true"));
    made.push({ daemon, ids, times: [] });
  }
  await sleep(2000);
  for (let run = 0; run < runs; run++) {
    for (const { daemon, ids, times } of made) {
      const begin = performance.now();
      await daemon.ok("POST", `/containers/${ids[run]}/start`);
      times.push(performance.now() - begin);
      await daemon.ok("POST", `/containers/${ids[run]}/wait`);
    }
  }
  for (const { daemon, ids } of made) for (const id of ids) await daemon.ok("DELETE", `/containers/${id}`);
  return made.map(({ times }) => times.sort((a, b) => a - b)[(runs - 1) / 2] ?? 0);
}
