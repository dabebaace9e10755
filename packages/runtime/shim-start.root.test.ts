/** The first steps of a shim, when who launched it goes meanwhile. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createProgramBuilder } from "#program/program-builder.ts";
import { AT_FDCWD } from "#runtime/compile/kernel-constants.ts";
import { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { listen } from "#runtime/compile/shim-frame.ts";
import { Containers } from "#runtime/container.test-tool.ts";
import { eventually } from "#test/fixtures/eventually.ts";

let containers: Containers;
before(() => {
  containers = new Containers();
});
after(async () => {
  await containers[Symbol.asyncDispose]();
});

/** Says by a directory that it is there, waits for somebody at the fifo, listens, and then makes "made". */
async function startSlowly(directory: string) {
  mkdirSync(directory);
  const fifo = join(directory, "fifo");
  execFileSync("mkfifo", [fifo]);
  const w = new ProgramWriter(createProgramBuilder(), containers.host.architecture);
  const { b } = w;
  const make = (name: string) =>
    b.sys("mkdirat", [AT_FDCWD, b.cstr(join(directory, name)), 0o700], { why: `make ${name}` });
  const pid = b.register("own pid");
  b.sys("getpid", [], { into: pid, why: "ask for its own pid" });
  b.notify(4, pid);
  make("ready");
  w.open(fifo, w.O.RDONLY, b.register("fifo"), "wait");
  listen(w, directory, b.register("socket"));
  make("made");
  b.exit(0);
  await containers.client.ensureZygote();
  const shim = containers.client.launch(b.finish(), join(directory, "shim.sock"));
  const told = new Promise<number>((resolve) => shim.onNote((_kind, value) => resolve(Number(value))));
  await eventually(() => assert.ok(existsSync(join(directory, "ready"))));
  return { shim, pid: await told, goOn: async () => (await open(fifo, "w")).close() };
}

/** An ended one is a zombie for as long as the zygote takes. */
function ended(pid: number): void {
  assert.ok(!existsSync(`/proc/${pid}`) || /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8")));
}

test("a shim goes on where who launched it hears that it listens", async () => {
  const directory = join(containers.directory, "heard");
  const { shim, goOn } = await startSlowly(directory);
  await goOn();
  await shim.listening;
  await eventually(() => assert.ok(existsSync(join(directory, "made"))));
  shim.close();
});

test("a shim whose daemon has gone before it listened makes nothing that the next one could not know of", async () => {
  const directory = join(containers.directory, "unheard");
  const { shim, pid, goOn } = await startSlowly(directory);
  shim.close();
  await goOn();
  await eventually(() => ended(pid));
  assert.equal(existsSync(join(directory, "made")), false);
});
