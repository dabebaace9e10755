/**
 * A storage driver on a data root of its own, and what its contract's tests do with it.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach } from "node:test";
import { readMountInfo } from "#kernel/mountinfo.ts";
import { layerChanges } from "#storage/changes/layer-changes.ts";
import type { StorageDriver } from "#storage/driver-types.ts";
import { holdLayers } from "#storage/hold-layers.ts";

/** Makes a driver on a data root, which may hold what an earlier one left. */
export type OpenDriver = (dataRoot: string) => Promise<StorageDriver>;

/** A layer's id: 64 times the letter. */
export const id = (letter: string): string => letter.repeat(64);

/** A storage driver that is held to the contract. */
export interface DriverUnderTest {
  /** The driver's own name, by which a daemon is told to use it. */
  name: string;
  open: OpenDriver;
  /** What a daemon is told of it, where it is opened by its name. */
  options?: readonly string[];
  /** A directory that data roots are made in, on the file system it needs; the temporary one if not given. */
  place?: () => string;
  /** How many random operations its files are held to; 100,000 if not given. */
  randomOperations?: number;
}

/** A fresh driver for every test of the suite it is called in. */
export function driverBench(driver: DriverUnderTest): DriverBench {
  const bench = new DriverBench(driver);
  before(() => bench.begin());
  after(() => bench.end());
  beforeEach(() => bench.renew());
  afterEach(async () => {
    await bench.driver.close();
    bench.nothingMounted();
  });
  return bench;
}

export class DriverBench {
  readonly #open: OpenDriver;
  readonly #place: () => string;
  /** Everything is below it; the data root is not all of it. */
  base = "";
  dataRoot = "";
  driver!: StorageDriver;

  constructor({ open, place = tmpdir }: DriverUnderTest) {
    this.#open = open;
    this.#place = place;
  }

  begin(): void {
    this.base = mkdtempSync(join(this.#place(), "berth-driver-"));
  }

  end(): void {
    rmSync(this.base, { recursive: true, force: true });
  }

  /** A driver on a fresh data root, or on the one given. */
  async renew(dataRoot: string = mkdtempSync(join(this.base, "root-"))): Promise<void> {
    this.dataRoot = dataRoot;
    this.driver = await this.#open(this.dataRoot);
    await this.driver.start?.();
    await this.driver.releaseUnheld?.();
  }

  /** The same data root after a restart. */
  async reopen(): Promise<void> {
    await this.driver.close();
    await this.renew(this.dataRoot);
  }

  /** What was held was given back: no mount is left in the data root. */
  nothingMounted(): void {
    const left = readMountInfo().filter(({ mountPoint }) => mountPoint.startsWith(`${this.dataRoot}/`));
    assert.deepEqual(left, []);
  }

  /** Works on the directory of a layer. */
  async content<T>(layer: string, work: (directory: string) => T): Promise<T> {
    await using _held = await holdLayers(this.driver, "content", layer);
    return await work(this.driver.diffPath(layer));
  }

  /** Puts a file into a layer, as unpacking would. */
  put(layer: string, path: string, content: string): Promise<void> {
    return this.content(layer, (directory) => {
      const file = join(directory, path);
      mkdirSync(join(file, ".."), { recursive: true });
      // Never into a file of the layer below.
      rmSync(file, { force: true });
      writeFileSync(file, content);
    });
  }

  /** Two layers: `b` on `a`. */
  async image(): Promise<void> {
    await this.driver.create(id("a"), undefined);
    await this.put(id("a"), "etc/name", "base");
    await this.put(id("a"), "only-base", "x");
    await this.driver.create(id("b"), id("a"));
    await this.put(id("b"), "etc/name", "top");
  }

  /** Runs a shell script in the mounted root, inside a mount namespace of its own. */
  async inRoot(layer: string, script: string, encoding: BufferEncoding = "utf8"): Promise<string> {
    await using _held = await holdLayers(this.driver, "root", layer);
    const plan = await this.driver.rootfs(layer);
    const options = (lower: readonly string[], upper: string, work: string, rest: readonly string[]) =>
      [`lowerdir=${lower.join(":")}`, `upperdir=${upper}`, `workdir=${work}`, ...rest].join(",");
    const enter =
      plan.kind === "directory"
        ? `cd '${plan.path}'`
        : [
            `cd '${plan.base}'`,
            `mount -t overlay overlay -o '${options(plan.lower, plan.upper, plan.work, plan.options)}' '${plan.merged}'`,
            `cd '${plan.merged}'`,
          ].join(" && ");
    return execFileSync("unshare", ["-m", "sh", "-ec", `${enter} && ${script}`], { encoding });
  }

  /** What a layer changed: "A /new", "C /etc" …, sorted. */
  async changes(layer: string): Promise<string[]> {
    await using _held = await holdLayers(this.driver, "comparison", layer);
    const comparison = await this.driver.comparison(layer);
    return [...layerChanges(comparison)].map(({ kind, path }) => `${"CAD"[kind]} ${path}`).sort();
  }
}

/**
 * Everything about the tree in the current directory that a layer must keep, for a shell; extended attributes by tar. The root
 * itself is left out: its time is that of the last look.
 */
export const describeTree: string = [
  "find . -mindepth 1 -printf '%p %y %m %U %G %T@ %l %n %s %b\\n' | LC_ALL=C sort",
  "find . -type f -exec sha256sum {} + | LC_ALL=C sort",
  "tar --xattrs --xattrs-include='*' --sort=name -cf - . | tar --xattrs -tvvf - | grep -v ' \\./$' | LC_ALL=C sort",
].join("; ");
