/** Project quotas on file systems made for this; what needs a kernel that has them runs in the virtual machine. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { keepsProjectLimits, projectOf, projectUsage } from "#kernel/project-quota.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { O_RDONLY, open } from "#kernel/syscalls.ts";
import { createOverlay2Driver } from "#storage/overlay2/overlay2-driver.ts";
import { missingQuota, ProjectLimits } from "#storage/quota/project-limits.ts";
import { DriverBench, id } from "#test/contracts/driver-bench.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { LoopFileSystem } from "#test/fixtures/loop-file-system.ts";
import { LocalDriver } from "#volumes/local-driver.ts";
import type { LocalOptions } from "#volumes/local-options.ts";

const kinds = [
  {
    kind: "xfs",
    option: "pquota",
    make: [],
    shown: () =>
      existsSync("/proc/fs/xfs/xqmstat")
        ? "xfs without the mount option pquota"
        : "xfs, whose quotas this kernel lacks",
    holdsRoot: true,
  },
  {
    kind: "ext4",
    option: "prjquota",
    make: ["-O", "project,quota"],
    shown: () => "ext4 without the mount option prjquota, with the features project and quota",
    // Not who has CAP_SYS_RESOURCE, as these tests, and writes without overlayfs in between, which gives that up.
    holdsRoot: false,
  },
] as const;
const MiB = 1 << 20;
/** What programs are told by xfs and by ext4. */
const full = /No space left on device|Disk quota exceeded/;

for (const { kind, option, make, shown, holdsRoot } of kinds) {
  const missing = LoopFileSystem.missing(kind) ?? false;

  describe(`sizes on ${kind}`, { skip: missing }, () => {
    test("without the mount option it is named, and the file system", () => {
      using disk = LoopFileSystem.make(kind);
      assert.equal(ProjectLimits.in(disk.path), undefined);
      assert.equal(missingQuota(disk.path), `${disk.path} is on ${shown()}`);
      const invalid = (text: string) => (error: unknown) =>
        isBerthError(error, "invalid") && error.message.includes(text) && error.message.endsWith(shown());
      const size = "overlay2.size=1G";
      assert.throws(
        () => createOverlay2Driver({ dataRoot: disk.path, options: [size] }),
        invalid("overlay2.size not supported. Filesystem does not support Project Quota"),
      );
      const driver = createOverlay2Driver({ dataRoot: disk.path });
      assert.throws(
        () => driver.sizeLimit({ size: "1G" }),
        invalid("--storage-opt is supported only for overlay over xfs with 'pquota' mount option"),
      );
      assert.equal(driver.sizeLimit({}), undefined);
    });

    describe("with limits of projects", { skip: lacksQuota(kind, option, make) }, () => {
      let disk: LoopFileSystem;
      const bench = new DriverBench({
        name: "overlay2",
        open: async (dataRoot) => createOverlay2Driver({ dataRoot, options: ["overlay2.size=30M"] }),
        place: () => disk.path,
      });
      before(async () => {
        disk = LoopFileSystem.make(kind, { make, options: option });
        bench.begin();
        await bench.renew();
      });
      after(async () => {
        await bench.driver.close();
        disk[Symbol.dispose]();
      });
      const fill = (megabytes: number) =>
        `if said=$(dd if=/dev/zero of=file bs=1048576 count=${megabytes} 2>&1); then echo whole; else echo "$said"; fi; rm file`;

      test("a container is stopped by its size, its neighbour goes on, and what is freed can be used", async () => {
        await bench.image();
        const size = bench.driver.sizeLimit({ size: "10M" });
        assert.equal(size, 10 * MiB);
        await bench.driver.createWritable(id("c"), id("b"), { size });
        await bench.driver.createWritable(id("d"), id("b"), { size: bench.driver.sizeLimit({}) });
        assert.match(await bench.inRoot(id("c"), fill(20)), full);
        assert.equal(await bench.inRoot(id("d"), fill(20)), "whole\n");
        assert.match(await bench.inRoot(id("d"), fill(40)), full);
        assert.equal(await bench.inRoot(id("c"), fill(8)), "whole\n");
        // The content of the image costs nothing until it is changed.
        assert.equal(await bench.inRoot(id("c"), "echo more >> etc/name; cat etc/name"), "topmore\n");
        // xfs gives blocks of removed files back behind the answers.
        await eventually(() => {
          const { used, limit } = ProjectLimits.in(disk.path)?.usage(bench.driver.diffPath(id("c"))) ?? {};
          assert.equal(limit, 10 * MiB);
          assert.ok((used ?? 0) < MiB, `${used}`);
        });
      });

      test("what is left of a limit after its container is nothing", async () => {
        await bench.driver.createWritable(id("e"), undefined, { size: 10 * MiB });
        using directory = new FileDescriptor(open(bench.driver.diffPath(id("e")), O_RDONLY));
        const project = projectOf(directory.number) ?? 0;
        assert.ok(project > 0);
        directory.close();
        await bench.driver.remove(id("e"));
        await bench.driver.settled();
        using root = new FileDescriptor(open(disk.path, O_RDONLY));
        // xfs counts what was deleted a moment longer: it clears inodes behind the answers.
        const nothing = { limit: 0, used: 0, files: 0 };
        await eventually(() => assert.deepEqual(projectUsage(root.number, project), nothing));
      });

      test("a volume has its size, and its content counts", async () => {
        const options = new Map<string, LocalOptions>([["vol", { size: "5M" }]]);
        const volumes = new LocalDriver({
          dataRoot: disk.path,
          owner: { uid: 0, gid: 0 },
          optionsOf: (name) => options.get(name) ?? {},
        });
        await volumes.start(new Set());
        volumes.check("vol", { size: "5M" });
        await volumes.create("vol", { size: "5M" });
        await volumes.create("free", {});
        const layer = join(disk.path, "layer");
        mkdirSync(join(layer, "data"), { recursive: true });
        writeFileSync(join(layer, "data/first"), Buffer.alloc(MiB));
        const layers = { directories: [layer], whiteouts: "overlay" as const };
        await volumes.populate("vol", layers, "/data", () => false);
        const file = join(volumes.path("vol"), "second");
        if (holdsRoot) {
          assert.throws(
            () => writeFileSync(file, Buffer.alloc(5 * MiB)),
            (error) => isErrno(error, "ENOSPC", "EDQUOT"),
          );
          rmSync(file);
        }
        writeFileSync(file, Buffer.alloc(3 * MiB));
        writeFileSync(join(volumes.path("free"), "large"), Buffer.alloc(10 * MiB));
        // df in it shows the limit.
        const { blocks, bsize } = statfsSync(volumes.path("vol"));
        assert.equal(blocks * bsize, 5 * MiB);
        await volumes.remove("vol");
        await volumes.create("vol", {});
        writeFileSync(join(volumes.path("vol"), "large"), Buffer.alloc(10 * MiB));
      });
    });
  });
}

/** Whether it is the kernel that lacks them is found out by trying. */
function lacksQuota(kind: string, options: string, make: readonly string[]): string | false {
  if (LoopFileSystem.missing(kind) !== undefined) return "the file system cannot be made here";
  try {
    using disk = LoopFileSystem.make(kind, { make, options });
    using root = new FileDescriptor(open(disk.path, O_RDONLY));
    return keepsProjectLimits(root.number) ? false : "this kernel has no project quotas";
  } catch {
    // Not even the option is known.
    return "this kernel has no project quotas";
  }
}
