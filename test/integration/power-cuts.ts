/**
 * A power cut at any moment leaves every image whole: the blocks that the data root is on are copied, in one moment, while
 * images are made and removed; a daemon that starts on the copy has what it lists, byte for byte.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type DaemonOptions, TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { LoopFileSystem } from "#test/fixtures/loop-file-system.ts";

/** Copies that are made while work goes on. */
const cuts = Number(process.env.BERTH_POWER_CUTS ?? 2);

export interface CutRequest {
  driver: string;
  /** The file system that the data root is on. */
  kind: string;
  /** Of the daemon that works, and of the one that comes after the cut. */
  options: DaemonOptions;
  optionsAfter: DaemonOptions;
  /** How long to wait for a moment to cut at, at least and at most, ms. Any will do; these are spread over what goes on. */
  moments: { least: number; most: number };
}

/** What the machine lacks to cut there; undefined if nothing. */
export function powerCutsMissing(kind: string): string | undefined {
  // The copies are made by a file system that can share blocks.
  return LoopFileSystem.missing("xfs") ?? LoopFileSystem.missing(kind);
}

export function testPowerCuts({ driver, kind, options, optionsAfter, moments }: CutRequest): void {
  test("leaves every image readable", async () => {
    using outer = LoopFileSystem.make("xfs");
    using disk = LoopFileSystem.make(kind, { place: outer.path, size: 1024 ** 3 });
    const daemon = await TestDaemon.start({ ...options, place: disk.path });
    const copies: { path: string; known: string[] }[] = [];
    let working = true;
    let work = Promise.resolve();
    try {
      daemon.loadBusybox();
      const known = [daemon.ok("image", "inspect", "-f", "{{.Id}}", "berth/busybox")];
      work = (async () => {
        for (let round = 0; working; round++) {
          const script = `head -c 3000000 /dev/urandom >/file-${round}; rm /etc/group; echo ${round} >/round`;
          const name = `work-${round}`;
          await daemon.dockerAsync(
            ...["run", "--name", name, "--network", "none", "berth/busybox", "sh", "-c", script],
          );
          const committed = await daemon.dockerAsync("commit", name, `made:${round}`);
          assert.equal(committed.code, 0, committed.stderr);
          if (round % 3 === 1) await daemon.dockerAsync("rmi", `made:${round}`);
          else known.push(committed.stdout.trim());
          await daemon.dockerAsync("rm", name);
        }
      })();
      for (let cut = 0; cut < cuts; cut++) {
        await sleep(moments.least + Math.random() * (moments.most - moments.least));
        const before = [...known];
        copies.push({ path: disk.cut(), known: before });
      }
    } finally {
      working = false;
      await work.finally(() => daemon.stop());
    }
    // A device that is on it may still be on its way out.
    const unmounted = () => eventually(() => disk.unmount());
    await unmounted();
    for (const { path, known } of copies) {
      disk.mountCut(path);
      await checkImages(driver, optionsAfter, daemon.dataRoot, known);
      await unmounted();
      rmSync(path);
    }
  });
}

/** Starts a daemon on what another's data root was like, and reads all that it lists. */
async function checkImages(
  driver: string,
  options: DaemonOptions,
  dataRoot: string,
  known: readonly string[],
): Promise<void> {
  const daemon = new TestDaemon(options);
  Object.assign(daemon, { dataRoot });
  await daemon.boot();
  try {
    assert.equal(daemon.ok("info", "-f", "{{.Driver}}"), driver);
    const listed = daemon.ok("images", "-q", "--no-trunc").split("\n").filter(Boolean);
    for (const id of known) assert.ok(listed.includes(id), `${id} is gone; there are ${listed.join(" ")}`);
    for (const id of listed) checkArchive(daemon, id);
    const ran = daemon.docker("run", "--rm", "--network", "none", listed[0] ?? "", "cat", "/etc/passwd");
    assert.equal(ran.code, 0, ran.stderr);
  } finally {
    await daemon.stop();
  }
}

/** Every layer of an image is what its digest says. */
function checkArchive(daemon: TestDaemon, id: string): void {
  const scratch = mkdtempSync(join(tmpdir(), "berth-cut-"));
  try {
    const file = join(scratch, "image.tar");
    daemon.ok("save", "-o", file, id);
    execFileSync("tar", ["-xf", file, "-C", scratch]);
    const [manifest] = JSON.parse(readFileSync(join(scratch, "manifest.json"), "utf8"));
    const config = JSON.parse(readFileSync(join(scratch, manifest.Config), "utf8"));
    const found = manifest.Layers.map((layer: string) => {
      const hash = createHash("sha256").update(readFileSync(join(scratch, layer)));
      return `sha256:${hash.digest("hex")}`;
    });
    assert.deepEqual(found, config.rootfs.diff_ids);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
