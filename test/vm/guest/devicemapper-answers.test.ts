/** The same work gives the same answers on devicemapper, with either file system in it, as on overlay2. */
import { after, before, describe } from "node:test";
import { hasDeviceMapper } from "#kernel/device-mapper.ts";
import { dockerCliMissing } from "#test/clients/docker-cli.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { LoopFileSystem } from "#test/fixtures/loop-file-system.ts";
import { prepareSameAnswers, testSameAnswers } from "#test/integration/storage-answers.ts";

const skip =
  LoopFileSystem.missing("ext4") ??
  (hasDeviceMapper() ? dockerCliMissing() : "needs a device mapper in the kernel");
const pool = ["dm.fs=xfs", "dm.basesize=320M", "dm.loopdatasize=2G", "dm.loopmetadatasize=8M"];

describe("devicemapper beside overlay2", { skip }, () => {
  const engines = new Map<string, TestDaemon>();
  let disk: LoopFileSystem;
  before(async () => {
    // What layers lie on must know attributes, and memory's file system does not know all.
    disk = LoopFileSystem.make("ext4", { size: 4 * 1024 ** 3 });
    for (const [driver, options] of [
      ["overlay2", []],
      ["devicemapper", pool],
    ] as const) {
      const flags = ["-s", driver, ...options.flatMap((option) => ["--storage-opt", option])];
      engines.set(driver, await TestDaemon.start({ flags, bridge: "none", place: disk.path }));
    }
    prepareSameAnswers(engines);
  });
  after(async () => {
    for (const engine of engines.values()) await engine.stop();
    disk[Symbol.dispose]();
  });

  testSameAnswers(engines);
});
