/**
 * What every storage driver must do, whatever it is made of. A driver's test calls `testStorageDriver` with a way to make
 * one; needs root.
 */
import { describe } from "node:test";
import type { OpenDriver } from "#test/contracts/driver-bench.ts";
import { testDriverCrashes } from "#test/contracts/driver-crashes.ts";
import { testDriverLayers } from "#test/contracts/driver-layers.ts";
import { testDriverRoots } from "#test/contracts/driver-roots.ts";

/** `name` is the driver's own, by which a daemon is told to use it. */
export function testStorageDriver(name: string, open: OpenDriver): void {
  describe(`storage driver ${name}`, { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
    describe("roots of containers", () => testDriverRoots(open));
    describe("layers", () => testDriverLayers(open));
    describe("crashes", () => testDriverCrashes(name, open));
  });
}
