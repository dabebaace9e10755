/** Of a storage driver's contract: whatever moment it is killed at, what was made is whole and the rest goes. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { type DriverUnderTest, driverBench } from "#test/contracts/driver-bench.ts";

const child = join(import.meta.dirname, "driver-crash-child.ts");
/** BERTH_DRIVER_CRASHES says how many; where everything is slow, less of them. */
const crashes = Number(process.env.BERTH_DRIVER_CRASHES ?? 12);

export function testDriverCrashes(driver: DriverUnderTest): void {
  const bench = driverBench(driver);

  /** Lets the driver work in a process of its own and kills that after so many of its lines, and a moment. */
  const crash = (seed: number, lines: number, moment: number) =>
    new Promise<string[]>((resolve, reject) => {
      const args = [child, bench.dataRoot, driver.name, String(seed), ...(driver.options ?? [])];
      const worker = spawn(process.execPath, args, {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let said = "";
      let ending = false;
      worker.stdout.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        if (ending || said.split("\n").length <= lines) return;
        ending = true;
        setTimeout(() => worker.kill("SIGKILL"), moment);
      });
      worker.on("error", reject);
      worker.on("close", (code) => {
        if (code !== null) reject(new Error(`the driver's process ended by itself, with ${code}`));
        else resolve(said.split("\n").slice(0, -1));
      });
    });

  test("killed at any moment", async () => {
    const whole = new Set<string>();
    const uncertain = new Set<string>();
    for (let seed = 0; seed < crashes; seed++) {
      await bench.driver.close();
      // Some moments later each time: a round takes from some milliseconds to some tens of them.
      const lines = await crash(seed, 3 + (seed % 9), (seed * 7) % 11);
      for (const line of lines) {
        const [what, layer = ""] = line.split(" ");
        if (what === "made") whole.add(layer);
        else whole.delete(layer);
        if (what === "making" || what === "removing") uncertain.add(layer);
        else uncertain.delete(layer);
      }
      await bench.renew(bench.dataRoot);
      for (const layer of whole) assert.ok(await bench.driver.exists(layer), `${layer} is gone`);
      await bench.driver.reconcile(whole);
      await bench.driver.settled();
      for (const layer of uncertain) assert.equal(await bench.driver.exists(layer), false, layer);
    }
    for (const layer of whole) {
      if (!layer.startsWith("container-")) continue;
      const seen = await bench.inRoot(layer, "ls | grep -c file- || true; cat file-299; test -f etc/hosts");
      assert.equal(seen, "300\n299");
    }
    const names = execFileSync(
      "find",
      [bench.dataRoot, "-regex", ".*/\\.\\(new\\|gone\\)-.*", "-prune", "-print"],
      {
        encoding: "utf8",
      },
    );
    assert.equal(names, "");
    // And all of it can go.
    await bench.driver.reconcile(new Set());
    await bench.driver.settled();
    const files = execFileSync("find", [bench.dataRoot, "-name", "file-*"], { encoding: "utf8" });
    assert.equal(files, "");
  });
}
