/** Power cuts with devicemapper: the pool's files are cut together with everything else that the daemon has. */
import { describe } from "node:test";
import { hasDeviceMapper } from "#kernel/device-mapper.ts";
import { dockerCliMissing } from "#test/clients/docker-cli.ts";
import { powerCutsMissing, testPowerCuts } from "#test/integration/power-cuts.ts";

const skip =
  powerCutsMissing("ext4") ??
  (hasDeviceMapper() ? dockerCliMissing() : "needs a device mapper in the kernel");
const pool = ["dm.fs=ext4", "dm.basesize=64M", "dm.loopdatasize=800M", "dm.loopmetadatasize=8M"];
const flags = ["-s", "devicemapper", ...pool.flatMap((option) => ["--storage-opt", option])];

describe("a power cut with devicemapper on ext4", { skip }, () => {
  testPowerCuts({
    driver: "devicemapper",
    kind: "ext4",
    options: { flags, bridge: "none" },
    optionsAfter: { flags, bridge: "none" },
    // Everything takes longer there.
    moments: { least: 2_000, most: 12_000 },
  });
});
