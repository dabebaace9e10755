/** Restart policies by the real command line: back-off, counts, manual ends, signals, waits, the daemon's own restart. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 31 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

const ok = (...args: string[]) => daemon.ok(...args);

const state = (name: string, format: string) => ok("inspect", "-f", format, name);

/** Before it says so, it does not know the signals that it is to be sent. */
const says = (name: string, words: string) => eventually(() => assert.equal(ok("logs", name), words));

test("on-failure:n tries n times again, then it has ended", async () => {
  const id = ok("run", "-d", "--name", "tries", "--restart", "on-failure:3", IMAGE, "sh", "-c", "exit 7");
  await eventually(() =>
    assert.equal(state("tries", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}"), "3 exited 7"),
  );
  assert.equal(ok("wait", "tries"), "7");
  const until = String(Date.now() / 1000);
  const actions = ok(
    "events",
    "--since",
    "0",
    "--until",
    until,
    "-f",
    `container=${id}`,
    "--format",
    "{{.Action}}",
  );
  assert.deepEqual(actions.split("\n"), ["create", ...Array(4).fill(["start", "die"]).flat()]);
  // The pauses double: 100, 200 and 400 ms.
  const json = ok(
    "events",
    "--since",
    "0",
    "--until",
    until,
    "-f",
    `container=${id}`,
    "--format",
    "{{json .}}",
  );
  const times = json.split("\n").map((line) => JSON.parse(line) as { Action: string; timeNano: number });
  const starts = times.filter(({ Action }) => Action === "start");
  const dies = times.filter(({ Action }) => Action === "die");
  const pauses = starts.slice(1).map(({ timeNano }, at) => (timeNano - (dies[at]?.timeNano ?? 0)) / 1e6);
  for (const [at, least] of [100, 200, 400].entries()) assert.ok((pauses[at] ?? 0) >= least, String(pauses));
  // A start by hand counts anew.
  ok("start", "tries");
  await eventually(() => assert.equal(state("tries", "{{.RestartCount}}"), "3"));
  ok("rm", "-f", "tries");
});

test("success is no reason to restart on-failure, and a signal's end is none to leave it", async () => {
  ok("run", "--name", "fine", "--restart", "on-failure", IMAGE, "true");
  assert.equal(state("fine", "{{.State.Status}} {{.RestartCount}}"), "exited 0");
  ok("run", "-d", "--name", "shot", "--restart", "on-failure", IMAGE, "sleep", "1000");
  process.kill(Number(state("shot", "{{.State.Pid}}")), "SIGKILL");
  await eventually(() => assert.equal(state("shot", "{{.State.Status}} {{.RestartCount}}"), "running 1"));
  ok("rm", "-f", "fine", "shot");
});

test("what waits for its restart is running to clients, can be stopped, and is stopped then", async () => {
  ok("run", "-d", "--name", "loop", "--restart", "always", IMAGE, "false");
  // The pause is then long enough for all the commands that are to come in it.
  await eventually(() =>
    assert.equal(state("loop", "{{gt .RestartCount 6}} {{.State.Status}}"), "true restarting"),
  );
  assert.equal(state("loop", "{{.State.Running}} {{.State.Restarting}} {{.State.Pid}}"), "true true 0");
  assert.match(ok("ps", "--format", "{{.Status}}", "-f", "name=loop"), /^Restarting \(1\) /);
  assert.match(ok("ps", "-q", "-f", "status=restarting"), /^[0-9a-f]{12}$/);
  assert.match(
    daemon.docker("exec", "loop", "true").stderr,
    /is restarting, wait until the container is running/,
  );
  assert.match(daemon.docker("pause", "loop").stderr, /is restarting, wait until the container is running/);
  assert.match(
    daemon.docker("rm", "loop").stderr,
    /container is restarting: stop the container before removing/,
  );
  ok("start", "loop"); // As good as done.
  const waiting = daemon.dockerAsync("wait", "loop");
  ok("stop", "loop");
  assert.equal((await waiting).stdout.trim(), "1");
  assert.equal(state("loop", "{{.State.Status}} {{.State.ExitCode}}"), "exited 1");
  ok("start", "loop");
  await eventually(() => assert.equal(state("loop", "{{gt .RestartCount 1}}"), "true"));
  ok("rm", "-f", "loop");
  assert.equal(daemon.docker("inspect", "loop").code, 1);
});

test("a kill ends an always; with a stop signal of its own only that one does", async () => {
  ok("run", "-d", "--name", "plain", "--restart", "always", IMAGE, "sleep", "1000");
  ok("kill", "plain");
  assert.equal(state("plain", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
  const script = "trap 'exit 3' USR1; trap 'exit 4' USR2; echo ready; while :; do sleep 0.05; done";
  ok(
    "run",
    "-d",
    "--name",
    "named",
    "--restart",
    "always",
    "--stop-signal",
    "USR2",
    IMAGE,
    "sh",
    "-c",
    script,
  );
  await says("named", "ready");
  ok("kill", "-s", "USR1", "named");
  await eventually(() => assert.equal(state("named", "{{.State.Status}} {{.RestartCount}}"), "running 1"));
  await says("named", "ready\nready");
  ok("stop", "named");
  assert.equal(state("named", "{{.State.Status}} {{.State.ExitCode}}"), "exited 4");
  ok("rm", "plain", "named");
});

/** Resolves when the answer's head has come, and with it the promise that the end will be told. */
function registered(condition: string): Promise<() => Promise<string>> {
  const path = `/v1.41/containers/waited/wait?condition=${condition}`;
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: daemon.socket, method: "POST", path }, (answer) =>
      resolve(async () => Buffer.concat(await answer.toArray()).toString()),
    );
    sent.on("error", reject);
    sent.end();
  });
}

test("the conditions of wait: an end, the next end, the removal", async () => {
  ok("create", "--name", "waited", IMAGE, "sh", "-c", "exit 5");
  const wait = (condition: string) =>
    daemon.api("POST", `/v1.41/containers/waited/wait?condition=${condition}`);
  assert.deepEqual(JSON.parse((await wait("not-running")).body), { StatusCode: 0 });
  const [next, removed] = [await registered("next-exit"), await registered("removed")];
  assert.equal((await wait("bogus")).status, 400);
  ok("start", "waited");
  assert.deepEqual(JSON.parse(await next()), { StatusCode: 5 });
  assert.deepEqual(JSON.parse((await wait("not-running")).body), { StatusCode: 5 });
  const another = await registered("next-exit");
  ok("rm", "waited");
  assert.deepEqual(JSON.parse(await removed()), { StatusCode: 5 });
  assert.deepEqual(JSON.parse(await another()), { StatusCode: 5 });
  assert.equal((await wait("removed")).status, 404);
});

test("--rm takes anonymous volumes along and leaves named ones; restart leaves it alive", async () => {
  ok("run", "-d", "--rm", "--name", "gone", "-v", "/anonymous", "-v", "named:/n", IMAGE, "sleep", "1000");
  assert.equal(ok("volume", "ls", "-q").split("\n").length, 2);
  ok("restart", "-t", "0", "gone");
  assert.equal(state("gone", "{{.State.Status}}"), "running");
  ok("stop", "-t", "0", "gone");
  await eventually(() => assert.equal(daemon.docker("inspect", "gone").code, 1));
  await eventually(() => assert.equal(ok("volume", "ls", "-q"), "named"));
  ok("volume", "rm", "named");
});

test("a paused container is stopped by way of going on", async () => {
  const script = "trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done";
  ok("run", "-d", "--name", "frozen", IMAGE, "sh", "-c", script);
  await says("frozen", "ready");
  ok("pause", "frozen");
  assert.match(
    daemon.docker("start", "frozen").stderr,
    /cannot start a paused container, try unpause instead/,
  );
  ok("stop", "frozen");
  assert.equal(state("frozen", "{{.State.Status}} {{.State.ExitCode}}"), "exited 6");
  ok("start", "frozen");
  ok("pause", "frozen");
  ok("kill", "frozen");
  assert.equal(state("frozen", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
  ok("start", "frozen");
  ok("pause", "frozen");
  ok("rm", "-f", "frozen");
});

test("the daemon's return: always and unless-stopped by their rules, ends meanwhile counted, namespaces in order", async () => {
  const directory = join(daemon.directory, "flags");
  mkdirSync(directory);
  const run = (name: string, policy: string, ...more: string[]) =>
    ok("run", "-d", "--name", name, "--restart", policy, ...more);
  run("always", "always", IMAGE, "sleep", "1000");
  run("always-stopped", "always", IMAGE, "sleep", "1000");
  run("unless", "unless-stopped", IMAGE, "sleep", "1000");
  run("unless-stopped", "unless-stopped", IMAGE, "sleep", "1000");
  run("failing-stopped", "on-failure", IMAGE, "sleep", "1000");
  ok("stop", "-t", "0", "always-stopped", "unless-stopped", "failing-stopped");
  ok("create", "--name", "never", "--restart", "always", IMAGE, "sleep", "1000");
  const script = "if [ -e /flags/end ]; then rm /flags/end; exit 9; fi; sleep 1000";
  const untilFlag = `while [ ! -e /flags/end ]; do sleep 0.05; done; ${script}`;
  run("meanwhile", "on-failure", "-v", `${directory}:/flags`, IMAGE, "sh", "-c", untilFlag);
  run("host", "always", IMAGE, "sleep", "1000");
  run("joined", "always", "--network", "container:host", IMAGE, "sleep", "1000");
  run("looping", "always", IMAGE, "false");
  await eventually(() => assert.equal(state("looping", "{{gt .RestartCount 3}}"), "true"));
  const pids = ["host", "joined"].map((name) => Number(state(name, "{{.State.Pid}}")));
  const started = state("always", "{{.State.StartedAt}}");
  await daemon.kill("SIGKILL");
  writeFileSync(join(directory, "end"), "");
  // As if the machine had gone down with them: their shims and they end unseen.
  for (const pid of pids) killWithShim(pid);
  await eventually(() => assert.ok(!existsSync(join(directory, "end"))));
  await daemon.boot();
  const running = (name: string) => state(name, "{{.State.Status}}");
  await eventually(() => {
    for (const name of ["always-stopped", "meanwhile", "host", "joined"])
      assert.equal(running(name), "running", `${name}: ${state(name, "{{.State.Error}}")}`);
  });
  assert.equal(state("always", "{{.State.StartedAt}} {{.RestartCount}}"), `${started} 0`);
  assert.equal(state("meanwhile", "{{.RestartCount}}"), "1");
  assert.equal(running("unless"), "running");
  for (const name of ["unless-stopped", "failing-stopped"]) assert.equal(running(name), "exited", name);
  assert.equal(running("never"), "created");
  const again = state("looping", "{{.RestartCount}}");
  await eventually(() => assert.ok(Number(state("looping", "{{.RestartCount}}")) > Number(again)));
});

test("on-failure:n tries n times, however often the daemon is killed while the next try is waited for", async () => {
  const script = "n=$(cat /n 2>/dev/null || echo 0); echo try $n; echo $((n+1)) >/n; exit 7";
  ok("run", "-d", "--name", "killed", "--restart", "on-failure:3", IMAGE, "sh", "-c", script);
  for (const count of [1, 3]) {
    await eventually(() => assert.ok(Number(state("killed", "{{.RestartCount}}")) >= count));
    await daemon.kill("SIGKILL");
    // The second one is killed before it has come to anything, or just after.
    const started = daemon.boot().catch(() => {});
    await sleep(150);
    await daemon.kill("SIGKILL");
    await started;
    await daemon.boot();
  }
  await eventually(() =>
    assert.equal(state("killed", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}"), "3 exited 7"),
  );
  assert.equal(ok("logs", "killed"), "try 0\ntry 1\ntry 2\ntry 3");
  ok("rm", "killed");
});

/** The shim is the parent; both at once, so that it records nothing. */
function killWithShim(pid: number): void {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  process.kill(parent, "SIGSTOP");
  process.kill(pid, "SIGKILL");
  process.kill(parent, "SIGKILL");
}
