/** Limits as they are felt inside, changed while the container runs, and counted by stats. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { request } from "node:http";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
const VERSION_1 = existsSync("/sys/fs/cgroup/memory");
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 33 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

const ok = (...args: string[]) => daemon.ok(...args);

const state = (name: string, format: string) => ok("inspect", "-f", format, name);

/** A file of the container's control group, as it is seen inside: by its names in both versions. */
function limit(name: string, v1: string, v2: string): string {
  return ok("exec", name, "cat", `/sys/fs/cgroup/${VERSION_1 ? v1 : v2}`);
}

interface Stats {
  read: string;
  preread: string;
  cpu_stats: {
    cpu_usage: { total_usage: number; percpu_usage?: number[] };
    system_cpu_usage: number;
    online_cpus: number;
    throttling_data: { periods: number; throttled_periods: number };
  };
  precpu_stats: Stats["cpu_stats"];
  memory_stats: { usage?: number; limit?: number; max_usage?: number; stats?: Record<string, number> };
  pids_stats: { current?: number; limit?: number };
  blkio_stats: Record<string, unknown>;
  networks?: Record<string, Record<string, number>>;
  name: string;
  id: string;
}

async function stats(name: string, query: string): Promise<Stats> {
  const { status, body } = await daemon.api("GET", `/v1.51/containers/${name}/stats?${query}`);
  assert.equal(status, 200, body);
  return JSON.parse(body) as Stats;
}

test("at its memory limit it is killed, and says of what", async () => {
  const fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count=100";
  const ran = daemon.docker(
    "run",
    "--name",
    "full",
    "-m",
    "16m",
    "--memory-swap",
    "16m",
    IMAGE,
    "sh",
    "-c",
    fill,
  );
  assert.equal(ran.code, 137);
  assert.equal(state("full", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
  // A child's end is told while the container goes on.
  const script = `while :; do [ -e /go ] && ${fill} 2>/dev/null; sleep 0.1; done`;
  ok("run", "-d", "--name", "child", "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", script);
  assert.equal(state("child", "{{.State.OOMKilled}}"), "false");
  ok("exec", "child", "touch", "/go");
  await eventually(() =>
    assert.equal(state("child", "{{.State.OOMKilled}} {{.State.Status}}"), "true running"),
  );
  ok("restart", "-t", "0", "child");
  const until = String(Date.now() / 1000);
  const told = ok(
    "events",
    "--since",
    "0",
    "--until",
    until,
    "-f",
    "event=oom",
    "--format",
    "{{.Actor.Attributes.name}}",
  );
  assert.ok(told.startsWith("full\nchild"), told);
  ok("rm", "-f", "full", "child");
});

test("half a processor is half a processor, and less after an update", async () => {
  ok("run", "-d", "--name", "busy", "--cpus", "0.5", IMAGE, "sh", "-c", "while :; do :; done");
  const gets = async (processors: number) => {
    const { cpu_stats, precpu_stats, read, preread } = await stats("busy", "stream=false");
    const [after, before] = [cpu_stats.throttling_data, precpu_stats.throttling_data];
    assert.ok(after.throttled_periods > 0);
    const used = cpu_stats.cpu_usage.total_usage - precpu_stats.cpu_usage.total_usage;
    const share = used / 1e6 / (Date.parse(read) - Date.parse(preread));
    const held = (after.throttled_periods - before.throttled_periods) / (after.periods - before.periods);
    const got = `${share} processors, held back in ${held} of the periods`;
    assert.ok(share < processors + 0.05, got);
    // A busy host may give it less, but not where it was held back in nearly every period.
    assert.ok(held < 0.95 || share > processors - 0.05, got);
  };
  await eventually(() => gets(0.5));
  ok("update", "--cpus", "0.2", "busy");
  await eventually(() => gets(0.2));
  ok("rm", "-f", "busy");
});

test("no more processes than allowed, on no other processor than allowed", () => {
  const fork = "for n in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo all";
  ok("run", "-d", "--name", "few", "--pids-limit", "5", "--cpuset-cpus", "0", IMAGE, "sleep", "1000");
  const refused = daemon.docker("exec", "few", "sh", "-c", fork);
  assert.match(refused.stderr, /can't fork/);
  assert.equal(limit("few", "pids/pids.max", "pids.max"), "5");
  assert.match(ok("exec", "few", "grep", "Cpus_allowed_list", "/proc/self/status"), /:\s*0$/);
  ok("update", "--pids-limit", "-1", "few");
  assert.match(ok("exec", "few", "sh", "-c", fork), /all/);
  ok("rm", "-f", "few");
});

test("update: what is set is set inside and kept; what is refused changes nothing; a restart policy comes to force", async () => {
  ok("run", "-d", "--name", "changed", "-m", "64m", IMAGE, "sleep", "1000");
  ok(
    "update",
    "-m",
    "128m",
    "--memory-swap",
    "256m",
    "--memory-reservation",
    "32m",
    "--cpu-shares",
    "512",
    "changed",
  );
  const memory = () => limit("changed", "memory/memory.limit_in_bytes", "memory.max");
  assert.equal(memory(), String(128 << 20));
  if (VERSION_1) assert.equal(limit("changed", "cpu/cpu.shares", ""), "512");
  const refusals: [string[], RegExp][] = [
    [["-m", "512m"], /Memory limit should be smaller than already set memoryswap limit/],
    [["-m", "4m"], /Minimum memory limit allowed is 6MB/],
    [["--cpus", "1000"], /Range of CPUs is from 0.01 to/],
    [["--cpuset-cpus", "900"], /Requested CPUs are not available/],
    [["--restart", "sometimes"], /invalid restart policy/],
  ];
  for (const [flags, message] of refusals) {
    const { code, stderr } = daemon.docker("update", ...flags, "changed");
    assert.equal(code, 1);
    assert.match(stderr, message);
  }
  assert.equal(memory(), String(128 << 20));
  ok("update", "--cpu-period", "50000", "--cpu-quota", "25000", "changed");
  assert.match(daemon.docker("update", "--cpus", "1", "changed").stderr, /CPU Period has already been set/);
  ok("update", "--restart", "on-failure:2", "changed");
  process.kill(Number(state("changed", "{{.State.Pid}}")), "SIGKILL");
  await eventually(() => assert.equal(state("changed", "{{.RestartCount}} {{.State.Status}}"), "1 running"));
  assert.equal(memory(), String(128 << 20));
  await daemon.kill("SIGKILL");
  await daemon.boot();
  const kept = "{{.HostConfig.Memory}} {{.HostConfig.CpuQuota}} {{.HostConfig.RestartPolicy.Name}}";
  assert.equal(state("changed", kept), `${128 << 20} 25000 on-failure`);
  ok("run", "-d", "--rm", "--name", "passing", IMAGE, "sleep", "1000");
  assert.match(
    daemon.docker("update", "--restart", "always", "passing").stderr,
    /because AutoRemove is enabled/,
  );
  ok("rm", "-f", "changed", "passing");
});

test("stats: figures of processor, memory, processes and network; with and without a second look", async () => {
  ok(
    "run",
    "-d",
    "--name",
    "seen",
    "-m",
    "100m",
    IMAGE,
    "sh",
    "-c",
    "dd if=/dev/zero of=/dev/shm/x bs=1M count=20; sleep 1000",
  );
  await eventually(async () =>
    assert.ok(((await stats("seen", "stream=false&one-shot=1")).memory_stats.usage ?? 0) > 20 << 20),
  );
  const one = await stats("seen", "stream=false&one-shot=1");
  assert.equal(one.preread, "0001-01-01T00:00:00Z");
  assert.equal(one.precpu_stats.cpu_usage.total_usage, 0);
  assert.equal(one.memory_stats.limit, 100 << 20);
  assert.equal(one.name, "/seen");
  assert.ok((one.pids_stats.current ?? 0) >= 1);
  if (VERSION_1) assert.equal(one.cpu_stats.cpu_usage.percpu_usage?.length, one.cpu_stats.online_cpus);
  assert.deepEqual(Object.keys(one.networks ?? {}), ["eth0"]);
  const address = state("seen", "{{.NetworkSettings.IPAddress}}");
  // On a busy machine packets are lost.
  let two = one;
  await eventually(async () => {
    ok("run", "--rm", IMAGE, "ping", "-c", "3", "-s", "1000", address);
    two = await stats("seen", "stream=false");
    assert.ok((two.networks?.eth0?.rx_bytes ?? 0) >= (one.networks?.eth0?.rx_bytes ?? 0) + 3000);
    assert.ok((two.networks?.eth0?.tx_bytes ?? 0) >= 3000);
  });
  assert.ok(Date.parse(two.read) > Date.parse(two.preread));
  assert.ok(two.cpu_stats.system_cpu_usage > two.precpu_stats.system_cpu_usage);
  const [name, usage, pids] = ok(
    "stats",
    "--no-stream",
    "--format",
    "{{.Name}}|{{.MemUsage}}|{{.PIDs}}",
    "seen",
  ).split("|");
  assert.equal(name, "seen");
  assert.match(usage ?? "", /^2\d(\.\d+)?MiB \/ 100MiB$/);
  assert.equal(pids, "1");
  assert.equal((await daemon.api("GET", "/v1.51/containers/seen/stats?one-shot=1")).status, 400);
  ok("run", "-d", "--name", "hosted", "--network", "host", IMAGE, "sleep", "1000");
  assert.equal((await stats("hosted", "stream=false&one-shot=1")).networks, undefined);
  ok("stop", "-t", "0", "seen");
  const stopped = await stats("seen", "stream=false");
  assert.deepEqual([stopped.read, stopped.name, stopped.pids_stats], ["0001-01-01T00:00:00Z", "/seen", {}]);
  ok("rm", "-f", "seen", "hosted");
});

test("a stream of stats goes on over a stop and ends with the container; many cost no more looks than one", async () => {
  const id = ok("run", "-d", "--name", "watched", IMAGE, "sleep", "1000");
  const streams = Array.from({ length: 20 }, () => new Stream(daemon.socket, id));
  const readings = await Promise.all(streams.map((stream) => stream.next()));
  const times = new Set(readings.map(({ read }) => read));
  // Twenty that come at once are told the same look, or two at most.
  assert.ok(times.size <= 2, `${times.size} looks`);
  const [first] = streams as [Stream];
  await first.next();
  ok("stop", "-t", "0", "watched");
  for (let reading = await first.next(); reading.pids_stats.current; ) reading = await first.next();
  ok("start", "watched");
  for (let reading = await first.next(); !reading.pids_stats.current; ) reading = await first.next();
  ok("rm", "-f", "watched");
  await Promise.all(streams.map((stream) => stream.ended));
});

/** GET /containers/{id}/stats, message by message. */
class Stream {
  readonly ended: Promise<unknown>;
  readonly #lines: AsyncIterator<string>;

  constructor(socketPath: string, id: string) {
    const sent = request({ socketPath, path: `/v1.51/containers/${id}/stats` });
    sent.end();
    const answered = once(sent, "response");
    this.ended = answered.then(([answer]) => once(answer, "close"));
    this.#lines = (async function* () {
      const [answer] = await answered;
      yield* createInterface({ input: answer });
    })();
  }

  async next(): Promise<Stats> {
    const { done, value } = await this.#lines.next();
    assert.ok(!done, "the stream has ended");
    return JSON.parse(value) as Stats;
  }
}

test("docker stats follows containers that come and go", async () => {
  ok("run", "-d", "--name", "early", IMAGE, "sleep", "1000");
  const child = spawn("docker", ["stats", "--format", "{{.Name}} {{.MemPerc}}"], {
    env: daemon.environment,
    stdio: ["ignore", "pipe", "ignore"],
  });
  let seen = "";
  child.stdout.on("data", (chunk) => {
    seen += chunk;
  });
  try {
    await eventually(() => assert.match(seen, /early \d/));
    await daemon.dockerAsync("run", "-d", "--name", "late", IMAGE, "sleep", "1000");
    await eventually(() => assert.match(seen, /late \d/));
  } finally {
    child.kill();
  }
  ok("rm", "-f", "early", "late");
});
