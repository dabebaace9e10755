import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { probeOverlay } from "#storage/overlay2/probe.ts";

describe("probing overlayfs", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  test("works below any name and leaves nothing", () => {
    const base = mkdtempSync(join(tmpdir(), "berth-probe-"));
    try {
      const home = join(base, "with:colon,comma and space", "long".repeat(60));
      mkdirSync(home, { recursive: true });
      const support = probeOverlay(home);
      assert.equal(typeof support.nativeDiff, "boolean");
      assert.ok(support.mountOptions.every((option) => /^(index|redirect_dir)=off$/.test(option)));
      assert.deepEqual(readdirSync(home), []);
    } finally {
      rmSync(base, { recursive: true, force: true });
    }
  });

  test("killed in the midst of it, it leaves no mount", async () => {
    const home = mkdtempSync(join(tmpdir(), "berth-probe-"));
    const program = `
      const { probeOverlay } = await import(${JSON.stringify(join(import.meta.dirname, "probe.ts"))});
      process.stdout.write("begins");
      for (;;) probeOverlay(${JSON.stringify(home)});`;
    try {
      for (let round = 0; round < 10; round++) {
        const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
          cwd: import.meta.dirname,
          stdio: ["ignore", "pipe", "inherit"],
        });
        const ended = new Promise((resolve) => child.once("exit", resolve));
        await begun(child);
        await sleep(round * 3.7);
        child.kill("SIGKILL");
        assert.equal(await ended, null, "it was killed, and did not fail");
        assert.equal(readFileSync("/proc/self/mountinfo", "utf8").includes(home), false, `round ${round}`);
      }
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });
});

function begun(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout?.once("data", () => resolve());
    child.once("exit", (code) => reject(new Error(`it ended with ${code}`)));
  });
}
