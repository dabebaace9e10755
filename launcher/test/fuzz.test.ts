/**
 * Runs the fuzzers of the parts that read what others wrote, under gcc's sanitizers. The seed is printed; to see a
 * failure again, set BERTH_FUZZ_SEED. BERTH_FUZZ_ITERATIONS makes it longer.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createProgramBuilder } from "#program/program-builder.ts";
import type { Program } from "#program/types.ts";
import { processProgram } from "./fixture.ts";

const seed = process.env.BERTH_FUZZ_SEED ?? String(Date.now() % 1_000_000_007);
const iterations = process.env.BERTH_FUZZ_ITERATIONS ?? "200000";
const source = join(import.meta.dirname, "..");

let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-fuzz-"));
});
after(() => rmSync(directory, { recursive: true, force: true }));

function build(name: string, ...sources: string[]): string {
  const binary = join(directory, name);
  const files = [`test/${name}.c`, ...sources].map((file) => join(source, file));
  const flags = ["-std=gnu17", "-O1", "-g", "-Wall", "-Wextra", "-Werror"];
  const sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
  execFileSync("gcc", [...flags, ...sanitizers, ...files, "-o", binary], { stdio: "inherit" });
  return binary;
}

/** Where addresses are as random as can be (vm.mmap_rnd_bits 32), the sanitizers of some gcc fail now and then. */
const plainAddresses = spawnSync("setarch", ["-R", "true"]).status === 0 ? ["setarch", "-R"] : [];

function fuzz(binary: string, ...args: string[]) {
  const [command = binary, ...rest] = [...plainAddresses, binary, seed, ...args];
  return spawnSync(command, rest, { encoding: "utf8", maxBuffer: 1 << 26 });
}

function everyOperation(): Program {
  const b = createProgramBuilder();
  const [x, y] = [b.register("x"), b.register("y")];
  const room = b.scratch(32);
  const child = b.label("child");
  b.set(x, 1n << 60n, "set");
  b.store(x, room, 8);
  b.load(y, b.slice(room, 8), 2);
  b.formatDecimal(x, room);
  b.fork({ flags: 0, into: x, child, pidfd: y, cgroup: y, why: "fork" });
  b.loadNetlinkError(room, x, { ignore: 17, why: "ack" });
  b.awaitExec(x, y);
  b.barrier(x, "wait");
  b.notify(20, y);
  b.sendFd(x, y, "send");
  b.receiveFd(x, y, "receive");
  b.supervise(x, y);
  b.jumpIfNotZero(x, child);
  b.jumpIfNegative(x, child);
  b.jump(child);
  b.place(child);
  b.sys("execve", [b.cstr("/bin/x"), b.cstrArray(["x", "y"]), b.cstrArray([])], { why: "run" });
  b.sys("read", [x, b.addressOf(y), 8], { full: true, why: "read" });
  b.relay({
    pid: x,
    terminal: true,
    logJson: true,
    stdinOnce: false,
    closeOnExit: true,
    stdin: x,
    stdout: x,
    expectedAttaches: 3,
    exitPath: "/run/exit",
    logAttrs: ',"attrs":{}',
    logRotation: { directory: y, name: "log", limit: 1 << 20, files: 3 },
    unlinkPath: "/run/shim.sock",
  });
  b.init(x);
  b.exit(0);
  return b.finish();
}

test("the loader refuses what is malformed and never leaves its memory", (t) => {
  const binary = build("fuzz-load", "load.c");
  const programs = [
    everyOperation(),
    processProgram({ argv: ["/bin/sh"], directory: "/run/x", log: "/log" }),
  ];
  const files = programs.map((program, index) => {
    const file = join(directory, `program${index}`);
    writeFileSync(file, program.bytes);
    return file;
  });
  const result = fuzz(binary, iterations, ...files);
  t.diagnostic(`seed ${seed}: ${result.stdout.trim()}`);
  assert.equal(result.status, 0, `seed ${seed}: ${result.stderr}`);
  // If nothing were accepted, or everything, the fuzzer would be testing nothing.
  const accepted = Number(/(\d+) accepted/.exec(result.stdout)?.[1]);
  assert.ok(
    accepted > Number(iterations) / 1000 && accepted < Number(iterations) / 2,
    `${accepted} accepted`,
  );
});

test("escaping, cutting and parsing of frames agree with plainer ways", (t) => {
  const binary = build("fuzz-text", "log_json.c", "frames.c");
  const result = fuzz(binary, String(Number(iterations) / 4));
  t.diagnostic(`seed ${seed}`);
  assert.equal(result.status, 0, `seed ${seed}: ${result.stderr}`);
  const lines = result.stdout.trim().split("\n");
  assert.ok(lines.length > 10);
  for (const line of lines) {
    const [seconds, nanoseconds = "", text] = line.split(" ");
    const expected = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
    assert.equal(text, `${expected}.${nanoseconds.padStart(9, "0")}Z`);
  }
});
