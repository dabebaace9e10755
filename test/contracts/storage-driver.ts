/**
 * What every storage driver must do, whatever it is made of. A driver's test calls `testStorageDriver` with a way to make
 * one; needs root.
 */
import { describe } from "node:test";
import type { DriverUnderTest } from "#test/contracts/driver-bench.ts";
import { testDriverCrashes } from "#test/contracts/driver-crashes.ts";
import { testDriverLayers } from "#test/contracts/driver-layers.ts";
import { testDriverRandomFiles } from "#test/contracts/driver-random-files.ts";
import { testDriverRoots } from "#test/contracts/driver-roots.ts";

/** `skip`: why it cannot be tested here. */
export function testStorageDriver(driver: DriverUnderTest, skip: string | false = false): void {
  const why = process.geteuid?.() !== 0 ? "needs root" : skip;
  describe(`storage driver ${driver.name}`, { skip: why }, () => {
    describe("roots of containers", () => testDriverRoots(driver));
    describe("files", () => testDriverRandomFiles(driver));
    describe("layers", () => testDriverLayers(driver));
    describe("crashes", () => testDriverCrashes(driver));
  });
}
