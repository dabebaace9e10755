/** Health checks by the real command line, whose timing is the check's own: only what has to come is waited for. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 32 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

const ok = (...args: string[]) => daemon.ok(...args);

interface Health {
  Status: string;
  FailingStreak: number;
  Log: { Start: string; End: string; ExitCode: number; Output: string }[];
}

const health = (name: string) =>
  JSON.parse(ok("inspect", "-f", "{{json .State.Health}}", name)) as Health | null;
const becomes = (name: string, status: string) =>
  eventually(() => assert.equal(health(name)?.Status, status));

/** Starts a sleeper with this check; flags as docker run has them, without "--health-". */
function checked(name: string, check: Record<string, string>, ...more: string[]): void {
  const flags = Object.entries(check).map(([flag, value]) => `--health-${flag}=${value}`);
  ok("run", "-d", "--name", name, ...flags, ...more, IMAGE, "sleep", "1000");
}

/** The real command line's `events`, from now on. */
class EventListener implements Disposable {
  #text = "";
  readonly #child: ChildProcess;

  constructor(filter: string) {
    const since = String(Date.now() / 1000);
    const args = ["events", "--since", since, "-f", filter, "--format", "{{.Action}}"];
    this.#child = spawn("docker", args, { env: daemon.environment, stdio: ["ignore", "pipe", "ignore"] });
    this.#child.stdout?.on("data", (chunk) => {
      this.#text += chunk;
    });
  }

  get actions(): string[] {
    return this.#text.split("\n").slice(0, -1);
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}

/** Processes of that command line on the host. */
function running(commandLine: string): number {
  return readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0").join(" ").trim() === commandLine;
    } catch {
      return false; // It ended in between.
    }
  }).length;
}

test("starting, unhealthy after as many failures as are too many, healthy after one success; told by events", async () => {
  checked("fresh", { cmd: "true", interval: "1h" });
  assert.deepEqual(health("fresh"), { Status: "starting", FailingStreak: 0, Log: [] });
  assert.match(ok("ps", "--format", "{{.Status}}", "-f", "name=fresh"), /\(health: starting\)$/);
  ok("rm", "-f", "fresh");
  // Heard as they come: each probe has three, and only so many are kept.
  using heard = new EventListener("container=life");
  checked("life", { cmd: "echo looked; test -e /fine", interval: "200ms", retries: "3" });
  await becomes("life", "unhealthy");
  assert.match(ok("ps", "--format", "{{.Status}}", "-f", "name=life"), /\(unhealthy\)$/);
  assert.equal(ok("ps", "--format", "{{.Names}}", "-f", "health=unhealthy"), "life");
  ok("exec", "life", "touch", "/fine");
  await becomes("life", "healthy");
  await eventually(() =>
    assert.equal(health("life")?.Log.filter(({ ExitCode }) => ExitCode === 0).length, 5),
  );
  const { FailingStreak, Log } = health("life") as Health;
  assert.equal(FailingStreak, 0);
  for (const { Output, Start, End } of Log) {
    assert.equal(Output, "looked\n");
    assert.ok(Date.parse(Start) <= Date.parse(End));
  }
  ok("exec", "life", "rm", "/fine");
  await becomes("life", "unhealthy");
  const events = (action: string) => heard.actions.filter((one) => one.startsWith(`${action}: `));
  const statuses = ["unhealthy", "healthy", "unhealthy"].map((status) => `health_status: ${status}`);
  await eventually(() => assert.deepEqual(events("health_status"), statuses));
  assert.deepEqual(
    [...new Set(events("exec_start"))],
    ["exec_start: /bin/sh -c echo looked; test -e /fine", "exec_start: touch /fine", "exec_start: rm /fine"],
  );
  ok("rm", "-f", "life");
});

test("failures within the start period don't count, and the first success ends it", async () => {
  checked("young", {
    cmd: "test -e /up || test ! -e /once",
    interval: "100ms",
    "start-interval": "100ms",
    "start-period": "1h",
    retries: "1",
  });
  await becomes("young", "healthy");
  ok("exec", "young", "touch", "/once");
  await becomes("young", "unhealthy");
  checked("younger", {
    cmd: "false",
    interval: "1h",
    "start-interval": "100ms",
    "start-period": "1h",
    retries: "1",
  });
  await eventually(() => assert.equal(health("younger")?.Log.length, 5));
  assert.deepEqual([health("younger")?.Status, health("younger")?.FailingStreak], ["starting", 0]);
  ok("rm", "-f", "young", "younger");
});

test("what takes too long is killed with all it has started, and has failed", async () => {
  checked("slow", {
    cmd: "echo begun; sleep 7777 & sleep 7778; true",
    interval: "200ms",
    timeout: "500ms",
    retries: "1",
  });
  await becomes("slow", "unhealthy");
  // On a busy machine one may have come to nothing before it could say so.
  const told = "Health check exceeded timeout (500ms): begun\n";
  await eventually(() => assert.ok(health("slow")?.Log.some(({ Output }) => Output === told)));
  assert.ok(health("slow")?.Log.every(({ ExitCode }) => ExitCode === -1));
  ok("pause", "slow");
  ok("unpause", "slow");
  ok("stop", "-t", "0", "slow");
  await eventually(() => assert.equal(running("sleep 7777") + running("sleep 7778"), 0));
  ok("rm", "slow");
});

test("output is kept to 4096 bytes; a command that isn't there is a failure", async () => {
  checked("loud", { cmd: "yes | head -c 100000", interval: "100ms" });
  await becomes("loud", "healthy");
  assert.equal(health("loud")?.Log[0]?.Output.length, 4096 + "...".length);
  const id = JSON.parse(
    (
      await daemon.api("POST", "/v1.41/containers/create?name=wrong", {
        Image: IMAGE,
        Cmd: ["sleep", "1000"],
        Healthcheck: { Test: ["CMD", "no-such-check"], Interval: 100e6, Retries: 2 },
      })
    ).body,
  ).Id;
  ok("start", id);
  await becomes("wrong", "unhealthy");
  assert.match(health("wrong")?.Log[0]?.Output ?? "", /no-such-check.*executable file not found/);
  ok("rm", "-f", "loud", "wrong");
});

test("none: of the image's, turned off, or malformed", async () => {
  ok("run", "-d", "--name", "none", "--no-healthcheck", IMAGE, "sleep", "1000");
  assert.equal(health("none"), null);
  assert.match(ok("ps", "--format", "{{.Names}}", "-f", "health=none"), /^none$/m);
  ok("rm", "-f", "none");
  for (const flag of ["interval", "timeout", "start-period", "start-interval"]) {
    const { code, stderr } = daemon.docker("create", `--health-${flag}=1us`, "--health-cmd=true", IMAGE);
    assert.equal(code, 1);
    assert.match(stderr, /in Healthcheck cannot be less than 1ms/);
  }
});

test("paused it isn't probed; stopped it is unhealthy; started it starts anew and remembers", async () => {
  // Five results are kept: long enough to be seen after a start.
  checked("still", { cmd: "true", interval: "1s" });
  await becomes("still", "healthy");
  ok("pause", "still");
  assert.equal(health("still")?.Status, "unhealthy");
  ok("unpause", "still");
  await becomes("still", "healthy");
  ok("stop", "-t", "0", "still");
  assert.equal(health("still")?.Status, "unhealthy");
  const before = health("still")?.Log.at(-1);
  ok("start", "still");
  assert.ok(health("still")?.Log.some(({ Start }) => Start === before?.Start));
  ok("rm", "-f", "still");
});

test("a daemon's death: health stays known, probing goes on, no probe is left behind", async () => {
  checked("through", { cmd: "true", interval: "100ms" });
  checked("hanging", { cmd: "sleep 6666", interval: "100ms", timeout: "1h" });
  await becomes("through", "healthy");
  await eventually(() => assert.equal(running("sleep 6666"), 1));
  const before = health("through")?.Log.at(-1)?.Start ?? "";
  await daemon.kill("SIGKILL");
  await daemon.boot();
  assert.equal(health("through")?.Status, "healthy");
  await eventually(() => assert.ok((health("through")?.Log[0]?.Start ?? "") > before));
  // The one of the former daemon was killed; the new one's own is there, and no second.
  await eventually(() => assert.equal(running("sleep 6666"), 1));
  ok("rm", "-f", "hanging", "through");
  await eventually(() => assert.equal(running("sleep 6666"), 0));
  await eventually(() => assert.deepEqual(readdirSync(join(daemon.execRoot, "execs")), []));
});
