/** Each resource flag as it is felt inside, and changed by docker update while the container runs. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
const MIB = 1 << 20;
const V1 = existsSync("/sys/fs/cgroup/memory");
const v1Only = V1 ? {} : { skip: "control groups version 2 know no such limit" };
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 221 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

const ok = (...args: string[]) => daemon.ok(...args);

const inspect = (name: string, format: string) => ok("inspect", "-f", format, name);
const inside = (name: string, ...command: string[]) => ok("exec", name, ...command);
const sleeper = (name: string, ...flags: string[]) =>
  ok("run", "-d", "--name", name, ...flags, IMAGE, "sleep", "1000");

/** A file of the container's control group, as it is seen inside: by its names in both versions. */
function file(name: string, v1: string, v2: string): string {
  return inside(name, "cat", `/sys/fs/cgroup/${V1 ? v1 : v2}`);
}

/** A file of its control group, read from outside: what is held back itself would be slow to answer. */
function hostFile(name: string, controller: string, v1: string, v2: string): string {
  const base = V1 ? `/sys/fs/cgroup/${controller}` : "/sys/fs/cgroup";
  return readFileSync(join(base, cgroupPath(name, controller), V1 ? v1 : v2), "utf8").trim();
}

/** By name and controller: they stay, and the command line takes its time to tell them while something is measured. */
const cgroupPaths = new Map<string, string>();

/** Of its first process, as the host sees it. */
function cgroupPath(name: string, controller: string): string {
  const key = `${name} ${controller}`;
  const path = cgroupPaths.get(key) ?? findCgroupPath(name, controller);
  cgroupPaths.set(key, path);
  return path;
}

function findCgroupPath(name: string, controller: string): string {
  const text = readFileSync(`/proc/${inspect(name, "{{.State.Pid}}")}/cgroup`, "utf8");
  const pattern = V1 ? new RegExp(`^\\d+:(?:[^:]*,)?${controller}(?:,[^:]*)?:(.*)$`, "m") : /^0::(.*)$/m;
  return pattern.exec(text)?.[1] ?? "";
}

/** Processor time the container has used, ns, by its own accounts. */
function processorTime(name: string): number {
  const text = hostFile(name, "cpuacct", "cpuacct.usage", "cpu.stat");
  return V1 ? Number(text) : Number(/^usage_usec (\d+)/m.exec(text)?.[1]) * 1000;
}

/** Of the periods in which it wanted to run, how many there were, and in how many it was held back. */
function periods(name: string): { all: number; throttled: number } {
  const text = hostFile(name, "cpu", "cpu.stat", "cpu.stat");
  const count = (key: string) => Number(new RegExp(`^${key} (\\d+)`, "m").exec(text)?.[1]);
  return { all: count("nr_periods"), throttled: count("nr_throttled") };
}

/** "quota period" in microseconds. */
function quota(name: string): string {
  if (!V1) return hostFile(name, "cpu", "", "cpu.max");
  return ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map((file) => hostFile(name, "cpu", file, "")).join(" ");
}

test("with an init in front, what is killed for its memory is told just so", () => {
  const fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count=60";
  const limits = ["-m", "16m", "--memory-swap", "16m"];
  const { code } = daemon.docker("run", "--name", "init", "--init", ...limits, IMAGE, "sh", "-c", fill);
  assert.equal(code, 137);
  assert.equal(inspect("init", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
  // Ended by its own doing, it was not the memory.
  assert.equal(
    daemon.docker("run", "--name", "own", "--init", ...limits, IMAGE, "sh", "-c", "kill -9 $$").code,
    137,
  );
  assert.equal(inspect("own", "{{.State.OOMKilled}}"), "false");
  // Of two that are killed the second is the one that counts; a start forgets what was.
  const child = daemon.docker("run", "--name", "child", ...limits, IMAGE, "sh", "-c", `${fill}; exit 3`);
  assert.equal(child.code, 3);
  assert.equal(inspect("child", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 3");
  ok("rm", "init", "own", "child");
});

test("memory with its swap, reservation and swappiness, and all of them changed while it runs", () => {
  const of = (name: string) => ({
    limit: file(name, "memory/memory.limit_in_bytes", "memory.max"),
    low: file(name, "memory/memory.soft_limit_in_bytes", "memory.low"),
  });
  const flags = ["-m", "64m", "--memory-swap", "96m", "--memory-reservation", "32m"];
  sleeper("memory", ...flags, ...(V1 ? ["--memory-swappiness", "7"] : []));
  assert.deepEqual(of("memory"), { limit: String(64 * MIB), low: String(32 * MIB) });
  const swap = (name: string) => file(name, "memory/memory.memsw.limit_in_bytes", "memory.swap.max");
  assert.equal(swap("memory"), String((V1 ? 96 : 32) * MIB));
  if (V1) assert.equal(file("memory", "memory/memory.swappiness", ""), "7");
  ok("update", "-m", "128m", "--memory-swap", "192m", "--memory-reservation", "48m", "memory");
  assert.deepEqual(of("memory"), { limit: String(128 * MIB), low: String(48 * MIB) });
  assert.equal(swap("memory"), String((V1 ? 192 : 64) * MIB));
  ok("update", "--memory-swap", "-1", "memory");
  assert.equal(swap("memory"), V1 ? "9223372036854771712" : "max");
  // Less than before, where both limits have to come down in the right order.
  ok("update", "-m", "16m", "--memory-swap", "24m", "--memory-reservation", "8m", "memory");
  assert.deepEqual(of("memory"), { limit: String(16 * MIB), low: String(8 * MIB) });
  // As much swap again as memory, where nothing is said of it.
  sleeper("twice", "-m", "32m");
  assert.equal(swap("twice"), String((V1 ? 64 : 32) * MIB));
  assert.equal(inspect("twice", "{{.HostConfig.MemorySwap}}"), String(64 * MIB));
  ok("rm", "-f", "memory", "twice");
});

test(
  "with --oom-kill-disable it stands still at its limit, and goes on when there is more",
  v1Only,
  async () => {
    const limits = ["-m", "16m", "--memory-swap", "16m", "--oom-kill-disable"];
    // Memory of its own, touched: a write to a file would fail instead of standing still.
    const script = `awk 'BEGIN { s = "x"; while (length(s) < 16000000) s = s s; print "over" }'; sleep 1000`;
    ok("run", "-d", "--name", "still", ...limits, IMAGE, "sh", "-c", script);
    const control = () =>
      readFileSync(`/sys/fs/cgroup/memory${cgroupPath("still", "memory")}/memory.oom_control`, "utf8");
    await eventually(() => assert.match(control(), /^under_oom 1$/m));
    assert.match(control(), /^oom_kill_disable 1$/m);
    assert.equal(inspect("still", "{{.State.Status}} {{.State.OOMKilled}}"), "running false");
    assert.equal(ok("logs", "still"), "");
    ok("update", "-m", "256m", "--memory-swap", "256m", "still");
    await eventually(() => assert.equal(ok("logs", "still"), "over"));
    assert.match(control(), /^oom_kill 0$/m);
    // Standing still again, it can be got rid of all the same.
    ok("run", "-d", "--name", "stuck", ...limits, IMAGE, "sh", "-c", script);
    await eventually(() =>
      assert.match(
        readFileSync(`/sys/fs/cgroup/memory${cgroupPath("stuck", "memory")}/memory.oom_control`, "utf8"),
        /^under_oom 1$/m,
      ),
    );
    ok("rm", "-f", "still", "stuck");
  },
);

test("the kernel's order of killing, limits per process, shared memory", () => {
  const script = "cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn; ulimit -c; df -k /dev/shm | tail -1";
  const flags = [
    "--oom-score-adj",
    "345",
    "--ulimit",
    "nofile=123:456",
    "--ulimit",
    "core=0",
    "--shm-size",
    "5m",
  ];
  const [score, soft, hard, core, shm] = ok("run", "--rm", ...flags, IMAGE, "sh", "-c", script).split("\n");
  assert.deepEqual([score, soft, hard, core], ["345", "123", "456", "0"]);
  assert.match(shm ?? "", /^shm\s+5120\s/);
  // Of an exec too.
  sleeper("scored", ...flags);
  assert.equal(inside("scored", "sh", "-c", "cat /proc/self/oom_score_adj; ulimit -n"), "345\n123");
  ok("rm", "-f", "scored");
});

test("half a processor is half a processor: strictly no more, and no less where it was to be had", async () => {
  // Two that would take a whole one each.
  const script = "while :; do :; done & while :; do :; done";
  ok("run", "-d", "--name", "half", "--cpus", "0.5", IMAGE, "sh", "-c", script);
  await eventually(() => assert.ok(periods("half").throttled > 3));
  // From here on where both are is known, and the interval is no longer than what is measured in it.
  processorTime("half");
  const began = performance.now();
  const [used, before] = [processorTime("half"), periods("half")];
  await sleep(4000);
  const [usedThen, after] = [processorTime("half"), periods("half")];
  const share = (usedThen - used) / 1e6 / (performance.now() - began);
  assert.ok(share < 0.55, `${share} processors`);
  // Where it was held back in nearly every period, it had had its share in each.
  const held = (after.throttled - before.throttled) / (after.all - before.all);
  if (held > 0.95) assert.ok(share > 0.45, `${share} processors, held back in ${held} of the periods`);
  assert.equal(quota("half"), "50000 100000");
  ok("update", "--cpus", "1.5", "half");
  assert.equal(quota("half"), "150000 100000");
  ok("rm", "-f", "half");
  // The same in its other words.
  sleeper("words", "--cpu-period", "50000", "--cpu-quota", "10000");
  assert.equal(quota("words"), "10000 50000");
  ok("update", "--cpu-period", "20000", "--cpu-quota", "5000", "words");
  assert.equal(quota("words"), "5000 20000");
  ok("rm", "-f", "words");
});

test("on one processor, shares are what each gets of it, and the other way round after an update", async () => {
  const busy = (name: string, shares: string) =>
    ok(
      ...["run", "-d", "--name", name, "--cpuset-cpus", "0", "--cpu-shares", shares],
      ...[IMAGE, "sh", "-c", "while :; do :; done"],
    );
  busy("more", "1024");
  busy("less", "256");
  const ratio = async () => {
    const before = [processorTime("more"), processorTime("less")] as const;
    await sleep(1500);
    return (processorTime("more") - before[0]) / (processorTime("less") - before[1]);
  };
  await eventually(async () => {
    const got = await ratio();
    assert.ok(got > 3 && got < 5.5, `${got} to 1`);
  });
  ok("update", "--cpu-shares", "64", "more");
  await eventually(async () => {
    const got = await ratio();
    assert.ok(got > 0.15 && got < 0.4, `${got} to 1`);
  });
  ok("rm", "-f", "more", "less");
});

test("processors and memory nodes it may use, and others after an update", () => {
  const allowed = (name: string) =>
    inside(name, "sh", "-c", "grep -h _allowed_list /proc/1/status").replace(/\s+/g, " ");
  sleeper("set", "--cpuset-cpus", "0", "--cpuset-mems", "0");
  assert.equal(allowed("set"), "Cpus_allowed_list: 0 Mems_allowed_list: 0");
  const last = readFileSync("/sys/devices/system/cpu/online", "utf8").trim().split(/[-,]/).at(-1) ?? "0";
  ok("update", "--cpuset-cpus", last, "set");
  assert.equal(allowed("set"), `Cpus_allowed_list: ${last} Mems_allowed_list: 0`);
  const { code, stderr } = daemon.docker("run", "--rm", "--cpuset-mems", "7", IMAGE, "true");
  assert.equal(code, 125);
  assert.match(stderr, /Requested memory nodes are not available - requested 7, available: 0/);
  ok("rm", "-f", "set");
});

const loop = spawnSync("losetup", ["-f"]).status === 0 ? undefined : "there are no loop devices";

test(`a device is read and written no faster than is said${loop === undefined ? "" : ` (skipped: ${loop})`}`, {
  skip: loop,
}, () => {
  const image = join(daemon.directory, "disk");
  writeFileSync(image, Buffer.alloc(32 * MIB));
  const device = execFileSync("losetup", ["-f", "--show", image], { encoding: "utf8" }).trim();
  try {
    /** How long it took, ms: never less than the limit makes of it, however busy the machine. */
    const took = (limit: string[], ...dd: string[]) => {
      const script = `dd ${dd.join(" ")} 2>/dev/null`;
      ok("run", "-d", "--name", "disk", "--device", `${device}:/dev/disk`, ...limit, IMAGE, "sleep", "1000");
      const began = performance.now();
      inside("disk", "sh", "-c", script);
      const elapsed = performance.now() - began;
      ok("rm", "-f", "disk");
      return elapsed;
    };
    const read = ["if=/dev/disk", "of=/dev/null", "iflag=direct"];
    const write = ["if=/dev/zero", "of=/dev/disk", "oflag=direct"];
    const cases: [string[], string[], number][] = [
      [["--device-read-bps", `${device}:1mb`], [...read, "bs=64k", "count=40"], 2500],
      [["--device-write-bps", `${device}:1mb`], [...write, "bs=64k", "count=40"], 2500],
      [["--device-read-iops", `${device}:20`], [...read, "bs=4k", "count=50"], 2500],
      [["--device-write-iops", `${device}:20`], [...write, "bs=4k", "count=50"], 2500],
    ];
    // The kernel lets the first tenth of a second's worth go at once.
    for (const [limit, dd, least] of cases) {
      const elapsed = took(limit, ...dd);
      assert.ok(elapsed > least * 0.8, `${limit.join(" ")}: ${elapsed} ms`);
    }
  } finally {
    execFileSync("losetup", ["-d", device]);
  }
  const { code, stderr } = daemon.docker(
    "run",
    "--rm",
    "--device-read-bps",
    "/dev/nothing:1mb",
    IMAGE,
    "true",
  );
  // What the command line makes of any file that isn't there.
  assert.equal(code, 127);
  assert.match(stderr, /stat \/dev\/nothing: no such file or directory/);
});

test("weights of devices where the kernel has them, Docker's warning where it hasn't", () => {
  const { code, stdout, stderr } = daemon.docker(
    "run",
    "-d",
    "--name",
    "heavy",
    "--blkio-weight",
    "300",
    IMAGE,
    "sleep",
    "1000",
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^[0-9a-f]{64}\n$/);
  if (inspect("heavy", "{{.HostConfig.BlkioWeight}}") === "0") {
    assert.match(
      stderr,
      /WARNING: Your kernel does not support Block I\/O weight or the cgroup is not mounted. Weight discarded./,
    );
  } else {
    assert.equal(stderr, "");
    const names = inside(
      "heavy",
      "sh",
      "-c",
      "cat /sys/fs/cgroup/blkio/blkio*weight /sys/fs/cgroup/io*weight 2>/dev/null || :",
    );
    assert.match(names, /\b300\b|\b2[0-9]{3}\b/);
  }
  ok("rm", "-f", "heavy");
});

test("under a parent of one's own, and with a view of all groups or of none above", () => {
  const parent = `/berth-test-${process.pid}`;
  try {
    sleeper("parent", "--cgroup-parent", parent);
    assert.ok(cgroupPath("parent", "memory").startsWith(`${parent}/`), cgroupPath("parent", "memory"));
    sleeper("private", "--cgroup-parent", parent, "--cgroupns", "private");
    sleeper("host", "--cgroup-parent", parent, "--cgroupns", "host");
    const seen = (name: string) =>
      inside(name, "sh", "-c", "grep -E '(:memory|^0:):' /proc/1/cgroup | head -1");
    assert.match(seen("private"), /:\/$/);
    assert.match(seen("host"), new RegExp(`:${parent}/[0-9a-f]{64}$`));
    ok("rm", "-f", "parent", "private", "host");
  } finally {
    for (const base of [".", ...readdirSync("/sys/fs/cgroup")])
      spawnSync("rmdir", [`/sys/fs/cgroup/${base}${parent}`]);
  }
});

test("what an update is refused for, or warned of, in Docker's words", () => {
  sleeper("plain");
  const update = (...flags: string[]) => daemon.docker("update", ...flags, "plain");
  const refusals: [string[], RegExp][] = [
    [["-m", "1m"], /Minimum memory limit allowed is 6MB/],
    [["--memory-reservation", "1m"], /Minimum memory reservation allowed is 6MB/],
    [
      ["-m", "32m", "--memory-swap", "16m"],
      /Minimum memoryswap limit should be larger than memory limit, see usage/,
    ],
    [
      ["-m", "32m", "--memory-reservation", "64m"],
      /Minimum memory limit can not be less than memory reservation limit, see usage/,
    ],
    [["--cpu-period", "10"], /CPU cfs period can not be less than 1ms \(i.e. 1000\) or larger than 1s/],
    [["--cpu-quota", "10"], /CPU cfs quota can not be less than 1ms \(i.e. 1000\)/],
    [["--cpuset-cpus", "a"], /Invalid value a for cpuset cpus/],
    [["--blkio-weight", "5"], /Range of blkio weight is from 10 to 1000/],
  ];
  for (const [flags, message] of refusals) {
    const { code, stderr } = update(...flags);
    if (code === 0 && flags[0] === "--blkio-weight") continue;
    assert.equal(code, 1, `${flags.join(" ")}: ${stderr}`);
    assert.match(stderr, message);
  }
  assert.match(
    daemon.docker("update", "plain").stderr,
    /you must provide one or more flags when using this command/,
  );
  assert.match(update("--pids-limit", "x").stderr, /invalid argument "x" for "--pids-limit"/);
  ok("rm", "-f", "plain");
});
