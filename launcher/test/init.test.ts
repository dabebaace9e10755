/** The launcher as a container's PID 1. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { createFixture, type Fixture, until } from "./fixture.ts";

let fixture: Fixture;
before(async () => {
  fixture = await createFixture();
});
after(() => fixture[Symbol.dispose]());

function run(...argv: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(fixture.launcherPath, ["init", "--", ...argv], { encoding: "utf8" });
}

/** Starts init with a script and waits until it has printed "ready". */
async function started(
  script: string,
): Promise<{ child: ChildProcess; ended: Promise<number | null>; output: () => string }> {
  const child = spawn(fixture.launcherPath, ["--", "sh", "-c", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout?.on("data", (data) => {
    output += data;
  });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  await until("the script is ready", () => output.includes("ready"));
  return { child, ended, output: () => output };
}

test("it ends as its command ends", () => {
  assert.equal(run("sh", "-c", "echo out; exit 7").status, 7);
  assert.equal(run("sh", "-c", "kill -KILL $$").status, 137);
  assert.equal(run("true").status, 0);
});

test("the command is found along PATH, has its arguments, and nothing of init's signal mask", () => {
  const { stdout } = run("sh", "-c", 'echo "$0 $1"; grep -E "SigBlk|SigIgn" /proc/self/status', "a b", "c");
  assert.equal(stdout, "a b c\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
});

test("127 for a command that isn't there, 126 for one that can't be executed", () => {
  assert.equal(run("no-such-command-anywhere").status, 127);
  assert.equal(run("/no/such/path").status, 127);
  writeFileSync(fixture.path("text"), "just text", { mode: 0o644 });
  const refused = run(fixture.path("text"));
  assert.equal(refused.status, 126);
  assert.match(refused.stderr, /cannot run .*: permission denied/);
  writeFileSync(fixture.path("binary"), "no program", { mode: 0o755 });
  assert.equal(run(fixture.path("binary")).status, 126);
});

test("an empty command line says how it is used", () => {
  assert.equal(spawnSync(fixture.launcherPath, ["init", "--"]).status, 2);
  assert.equal(spawnSync(fixture.launcherPath, []).status, 2);
});

test("signals are passed on", async () => {
  for (const [signal, name] of [
    ["SIGTERM", "TERM"],
    ["SIGHUP", "HUP"],
    ["SIGUSR1", "USR1"],
    ["SIGINT", "INT"],
    ["SIGWINCH", "WINCH"],
  ] as const) {
    const { child, ended } = await started(
      `trap 'exit 21' ${name}; echo ready; while :; do sleep 0.01; done`,
    );
    child.kill(signal);
    assert.equal(await ended, 21, name);
  }
});

test("what is left behind is reaped", (t) => {
  // As PID 1 of a namespace it is every orphan's parent. One that has just ended is a zombie for a moment.
  const zombies = "ps -A -o stat= | grep -c Z";
  const script = `(sh -c 'sleep 0.05 & sleep 0.05 &' &); sleep 0.3; i=0
    while [ $(${zombies}) != 0 ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done; ${zombies}; exit 4`;
  const result = spawnSync(
    "unshare",
    ["--pid", "--fork", "--mount-proc", fixture.launcherPath, "init", "--", "sh", "-c", script],
    { encoding: "utf8" },
  );
  if (/unshare failed/.test(result.stderr)) {
    t.skip("needs the right to make a pid namespace");
    return;
  }
  assert.equal(result.stdout, "0\n");
  assert.equal(result.status, 4);
});
