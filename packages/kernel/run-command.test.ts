import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { runCommand } from "#kernel/run-command.ts";
import { shortOfDescriptors } from "#test/fixtures/few-descriptors.ts";

const env = { PATH: "/nowhere:/usr/bin:/bin", WORD: "from outside" };
const sh = (script: string, input = "", timeout = 60_000) =>
  runCommand("sh", ["-c", script], { input, env, timeout });

test("it reads, writes, complains, and has the environment it was given", async () => {
  const ended = await sh('cat; echo "$WORD $0 [$HOME]"; echo oops >&2; exit 3', "typed\n");
  assert.deepEqual(ended, {
    status: 3,
    signal: undefined,
    output: "typed\nfrom outside sh []\n",
    complaints: "oops\n",
  });
});

test("more than pipes hold, both ways, to one that reads late and one that reads nothing", async () => {
  const much = "0123456789".repeat(100_000);
  assert.equal((await sh("sleep 0.05; cat", much)).output, much);
  assert.equal((await sh("exit 0", much)).status, 0);
});

test("no descriptor but those Node would leave it, no signal ignored or held back", async () => {
  const script = "ls /proc/self/fd | wc -l; grep -E '^Sig(Ign|Blk)' /proc/self/status";
  const { output } = await sh(script);
  assert.equal(output, spawnSync("sh", ["-c", script], { env, encoding: "utf8" }).stdout);
  assert.match(output, /\nSigBlk:\s0+\nSigIgn:\s0+\n$/);
});

test("one that takes too long is killed, and told so", async () => {
  const ended = await sh("exec sleep 1000", "", 50);
  assert.deepEqual([ended.status, ended.signal], [undefined, "SIGKILL"]);
});

test("what is in no directory is not found, and nothing is left open", async () => {
  const before = readdirSync("/proc/self/fd").length;
  await assert.rejects(runCommand("no-such-program", [], { input: "", env, timeout: 1000 }), {
    code: "ENOENT",
  });
  await Promise.all(Array.from({ length: 20 }, () => sh("true")));
  assert.equal(readdirSync("/proc/self/fd").length, before);
});

test("with descriptors for some of its pipes only it is not started, and keeps none", async () => {
  const { failed, done, kept } = await shortOfDescriptors({
    setUp: 'import { runCommand } from "#kernel/run-command.ts";',
    work: `await runCommand("true", [], { input: "", env: ${JSON.stringify(env)}, timeout: 60_000 });`,
    most: 12,
  });
  assert.deepEqual([failed > 0, done > 0, kept], [true, true, 0]);
});
