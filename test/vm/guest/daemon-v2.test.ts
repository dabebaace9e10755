/** The daemon on version 2: what its containers may use, as it is felt inside. Runs in the virtual machine. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const MIB = 1 << 20;
const BUSY = ["sh", "-c", "while :; do :; done"];
const skip = readCgroupLayout().version === 1 && "this host has control groups version 1";

describe("berthd on control groups version 2", { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-v2-"));
  const socketPath = join(directory, "berth.sock");
  let daemon: ChildProcess;

  before(async () => {
    const roots = ["--data-root", join(directory, "data"), "--exec-root", join(directory, "run")];
    const rest = ["-H", `unix://${socketPath}`, "--pidfile", join(directory, "pid"), "--bridge", "none"];
    daemon = spawn(join(ROOT, "bin/berthd"), [...roots, ...rest], {
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, BERTH_NO_SETUP: "1" },
    });
    await eventually(async () => assert.equal((await api("GET", "/_ping")).status, 200));
    const image = readFileSync(join(ROOT, "build/busybox.tar"));
    assert.equal((await api("POST", "/images/load", image)).status, 200);
  });
  after(async () => {
    const ended = new Promise((done) => daemon.once("exit", done));
    daemon.kill("SIGTERM");
    await ended;
  });

  function api(method: string, path: string, body?: object): Promise<{ status: number; text: string }> {
    return new Promise((done, failed) => {
      const type = body instanceof Buffer ? "application/x-tar" : "application/json";
      const headers = body === undefined ? {} : { "Content-Type": type };
      const sent = request({ socketPath, method, path: `/v1.51${path}`, headers }, (answer) => {
        let text = "";
        answer.on("data", (chunk) => {
          text += chunk;
        });
        answer.on("end", () => done({ status: answer.statusCode ?? 0, text }));
      });
      sent.on("error", failed);
      sent.end(body instanceof Buffer || body === undefined ? body : JSON.stringify(body));
    });
  }

  async function ok(method: string, path: string, body?: object) {
    const { status, text } = await api(method, path, body);
    assert.ok(status < 300, `${method} ${path}: ${status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  async function start(name: string, Cmd: string[], limits: object): Promise<string> {
    const HostConfig = { NetworkMode: "none", ...limits };
    const { Id } = await ok("POST", `/containers/create?name=${name}`, {
      Image: "berth/busybox",
      Cmd,
      HostConfig,
    });
    await ok("POST", `/containers/${name}/start`);
    return `/sys/fs/cgroup/berth/${Id}`;
  }
  const remove = (name: string) => ok("DELETE", `/containers/${name}?force=1`);
  const exitOf = async (name: string) => (await ok("POST", `/containers/${name}/wait`)).StatusCode as number;
  const logs = async (name: string) => (await api("GET", `/containers/${name}/logs?stdout=1&stderr=1`)).text;

  it("limits memory, processors, processes, and lets all be changed", async () => {
    const group = await start("limits", ["sleep", "1000"], {
      ...{ Memory: 64 * MIB, MemorySwap: 96 * MIB, MemoryReservation: 32 * MIB },
      ...{ NanoCpus: 5e8, CpuShares: 1024, CpusetCpus: "0", CpusetMems: "0", PidsLimit: 30 },
    });
    const value = (file: string) => readFileSync(join(group, file), "utf8").trim();
    const all = () => ["memory.max", "memory.low", "cpu.max", "cpuset.cpus", "pids.max"].map(value);
    assert.deepEqual(all(), [String(64 * MIB), String(32 * MIB), "50000 100000", "0", "30"]);
    // Swap is counted by itself here, and so it is told.
    if (existsSync(join(group, "memory.swap.max"))) assert.equal(value("memory.swap.max"), String(32 * MIB));
    const { Warnings } = await ok("POST", "/containers/limits/update", {
      ...{ Memory: 128 * MIB, MemorySwap: 128 * MIB, MemoryReservation: 48 * MIB },
      ...{ NanoCpus: 15e8, CpusetCpus: "1", PidsLimit: -1 },
    });
    assert.equal(Warnings, null);
    assert.deepEqual(all(), [String(128 * MIB), String(48 * MIB), "150000 100000", "1", "max"]);
    const stats = await ok("GET", "/containers/limits/stats?stream=false&one-shot=1");
    assert.equal(stats.memory_stats.limit, 128 * MIB);
    assert.ok(stats.memory_stats.usage > 0 && stats.pids_stats.current === 1);
    assert.ok(stats.cpu_stats.cpu_usage.total_usage > 0);
    await ok("POST", "/containers/limits/pause");
    assert.match(value("cgroup.events"), /frozen 1/);
    await remove("limits");
    await eventually(() => assert.equal(existsSync(group), false));
  });

  it("kills at the memory's limit and says so, be it the container or a child of it", async () => {
    const limits = { Memory: 16 * MIB, MemorySwap: 16 * MIB };
    await start("full", ["tail", "/dev/zero"], limits);
    assert.equal(await exitOf("full"), 137);
    assert.equal((await ok("GET", "/containers/full/json")).State.OOMKilled, true);
    await start("child", ["sh", "-c", "tail /dev/zero; exit 3"], limits);
    assert.equal(await exitOf("child"), 3);
    assert.equal((await ok("GET", "/containers/child/json")).State.OOMKilled, true);
    await start("own", ["sh", "-c", "exit 137"], limits);
    assert.equal(await exitOf("own"), 137);
    assert.equal((await ok("GET", "/containers/own/json")).State.OOMKilled, false);
    for (const name of ["full", "child", "own"]) await remove(name);
  });

  it("gives half a processor, and no more", async () => {
    const group = await start("half", BUSY, { NanoCpus: 5e8 });
    const numbers = () => {
      const text = readFileSync(join(group, "cpu.stat"), "utf8");
      const at = (key: string) => Number(new RegExp(`^${key} (\\d+)`, "m").exec(text)?.[1]);
      return { used: at("usage_usec"), all: at("nr_periods"), held: at("nr_throttled") };
    };
    await eventually(() => assert.ok(numbers().held > 3));
    // A reading may be held up: it was made somewhere between the times before and after it.
    const timed = () => ({ before: performance.now(), ...numbers(), after: performance.now() });
    const first = timed();
    await sleep(4000);
    const then = timed();
    const used = (then.used - first.used) / 1e3;
    const least = used / (then.after - first.before);
    const most = used / (then.before - first.after);
    assert.ok(least < 0.55, `${least} processors`);
    // Where it was held back in nearly every period, it had had its share in each.
    if ((then.held - first.held) / (then.all - first.all) > 0.95)
      assert.ok(most > 0.45, `${most} processors`);
    await remove("half");
  });

  it("lets no more processes be than allowed", async () => {
    const fork = "for n in 1 2 3 4 5 6; do sleep 100 & done; echo all";
    await start("few", ["sh", "-c", fork], { PidsLimit: 4 });
    await exitOf("few");
    assert.match(await logs("few"), /can't fork/);
    await remove("few");
  });

  it("reads and writes a device no faster than is said", async () => {
    const image = join(directory, "disk");
    writeFileSync(image, Buffer.alloc(8 * MIB));
    const device = "/dev/loop0";
    execFileSync("losetup", [device, image]);
    try {
      const Devices = [{ PathOnHost: device, PathInContainer: "/dev/disk", CgroupPermissions: "rwm" }];
      const script = "dd if=/dev/disk of=/dev/null iflag=direct bs=64k count=32 2>/dev/null";
      const began = performance.now();
      const rate = { Path: device, Rate: MIB };
      const limits = {
        Devices,
        BlkioDeviceReadBps: [rate],
        BlkioDeviceWriteIOps: [{ Path: device, Rate: 50 }],
      };
      const group = await start("disk", ["sh", "-c", `${script}; sleep 1000`], limits);
      assert.equal(
        readFileSync(join(group, "io.max"), "utf8").trim(),
        "7:0 rbps=1048576 wbps=max riops=max wiops=50",
      );
      // Two megabytes at one in a second.
      await eventually(() =>
        assert.match(readFileSync(join(group, "io.stat"), "utf8"), /^7:0 rbytes=2097152 /m),
      );
      assert.ok(performance.now() - began > 1600, `${performance.now() - began} ms`);
      const stats = await ok("GET", "/containers/disk/stats?stream=false&one-shot=1");
      const read = stats.blkio_stats.io_service_bytes_recursive.find(
        ({ op }: { op: string }) => op === "read",
      );
      assert.deepEqual([read.major, read.minor, read.value], [7, 0, 2097152]);
      await remove("disk");
    } finally {
      execFileSync("losetup", ["-d", device]);
    }
  });

  it("discards with a warning what this version does not know", async () => {
    const HostConfig = { NetworkMode: "none", Memory: 16 * MIB, OomKillDisable: true, MemorySwappiness: 5 };
    const body = { Image: "berth/busybox", Cmd: ["true"], HostConfig };
    const { Id, Warnings } = await ok("POST", "/containers/create", body);
    assert.ok(
      Warnings.includes("Your kernel does not support OomKillDisable. OomKillDisable discarded."),
      JSON.stringify(Warnings),
    );
    await ok("DELETE", `/containers/${Id}`);
    await eventually(() => assert.deepEqual(readdirSync(join(directory, "run/containers")), []));
  });
});
