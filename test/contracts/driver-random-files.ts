/**
 * Of a storage driver's contract: a container's root behaves as any directory does. Random operations on one and on a
 * plain directory have the same outcomes and leave the same (random-files.ts).
 *
 * BERTH_RANDOM_OPERATIONS says how many (100,000 where neither it nor the driver does), BERTH_RANDOM_SEED which.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type DriverUnderTest, driverBench, id } from "#test/contracts/driver-bench.ts";

const seed = process.env.BERTH_RANDOM_SEED ?? "1";
const program = join(import.meta.dirname, "random-files.ts");
/** What the layers hold under the names that the operations use. */
const lower =
  "mkdir -p work/a/b/c work/d/e; cd work; echo 1 >a/a; echo 2 >a/b/a; head -c 200000 /dev/zero >a/b/c/b; " +
  "seq 1 20000 >b; ln -s b c; mkdir f; echo x >f/f; chmod 4755 f/f; chown 5:6 d/e; : >g";
const upper =
  "mkdir -p work/a/b work/d/f; cd work; seq 5 9000 >a/b/b; echo new >b; ln -s f d/g; touch .hidden";

export function testDriverRandomFiles(driver: DriverUnderTest): void {
  const bench = driverBench(driver);
  const operations = process.env.BERTH_RANDOM_OPERATIONS ?? driver.randomOperations ?? 100_000;

  test(`${operations} random operations from seed ${seed}, as on a plain directory`, async () => {
    for (const [layer, parent, script] of [
      [id("a"), undefined, lower],
      [id("b"), id("a"), upper],
    ] as const) {
      await bench.driver.create(layer, parent);
      await bench.content(layer, (cwd) => execFileSync("sh", ["-ec", script], { cwd }));
    }
    await bench.driver.createWritable(id("c"), id("b"), {});
    const plain = join(bench.base, "plain");
    mkdirSync(plain);
    const moves = bench.driver.whiteouts === "apply";
    const node = `'${process.execPath}' --disable-warning=ExperimentalWarning '${program}'`;
    await bench.inRoot(
      id("c"),
      `cp -a work '${plain}'; ${node} "$PWD/work" '${plain}/work' ${seed} ${operations} ${!moves}`,
    );
    // And the image is as it was.
    const look = "cat work/a/b/b | wc -l; cat work/b; readlink work/d/g; ls -d work/.hidden";
    const found = await bench.content(id("b"), (cwd) =>
      execFileSync("sh", ["-ec", look], { cwd, encoding: "utf8" }),
    );
    assert.equal(found, "8996\nnew\nf\nwork/.hidden\n");
  });
}
