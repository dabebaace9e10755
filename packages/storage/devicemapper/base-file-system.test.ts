import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { identify, mountData } from "#storage/devicemapper/base-file-system.ts";

const uuid = "01234567-89ab-4def-8123-456789abcdef";

for (const [kind, size, ...args] of [
  ["ext4", 4 << 20, "-q", "-F", "-U", uuid],
  ["xfs", 320 << 20, "-q", "-f", "-m", `uuid=${uuid}`],
] as const) {
  test(`${kind} is known by its first blocks`, {
    skip: !existsSync(`/usr/sbin/mkfs.${kind}`) && `needs mkfs.${kind}`,
  }, () => {
    const directory = mkdtempSync(join(tmpdir(), "berth-base-"));
    try {
      const file = join(directory, "blocks");
      writeFileSync(file, "");
      truncateSync(file, size);
      assert.equal(identify(file), undefined);
      execFileSync(`/usr/sbin/mkfs.${kind}`, [...args, file]);
      assert.deepEqual(identify(file), { kind, uuid: uuid.replaceAll("-", "") });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}

test("xfs is mounted beside others of its identity", () => {
  assert.equal(mountData("xfs", ["nodiratime", ""]), "nouuid,nodiratime");
  assert.equal(mountData("ext4", []), "");
});
