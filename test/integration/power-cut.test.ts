/** Power cuts with the storage drivers that this machine has; those with devicemapper are in test/vm. */
import { existsSync } from "node:fs";
import { describe } from "node:test";
import { powerCutsMissing, testPowerCuts } from "#test/integration/power-cuts.ts";

const drivers = [
  { driver: "btrfs", kind: "btrfs", subnet: 84 },
  { driver: "overlay2", kind: "ext4", subnet: 85 },
  { driver: "aufs", kind: "ext4", subnet: 89 },
];

for (const { driver, kind, subnet } of drivers) {
  const missing =
    powerCutsMissing(kind) ??
    (driver === "aufs" && !existsSync("/dev/fuse") ? "needs FUSE (/dev/fuse)" : undefined);

  describe(`a power cut with ${driver} on ${kind}`, { skip: missing }, () => {
    const flags = ["-s", driver];
    testPowerCuts({
      driver,
      kind,
      options: { flags, subnet },
      optionsAfter: { flags, subnet: 86 },
      moments: { least: 300, most: 1_300 },
    });
  });
}
