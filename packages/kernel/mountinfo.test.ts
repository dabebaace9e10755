import assert from "node:assert/strict";
import { test } from "node:test";
import { mountOf, parseMountInfo } from "#kernel/mountinfo.ts";

const text = `27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
36 31 0:32 / /mnt/with\\040space\\134x ro,nosuid shared:5 master:2 - overlay overlay rw,lowerdir=/a:/b,upperdir=/c
nonsense
40 27 0:40 /sub /mnt/with\\040space\\134x/deep rw - tmpfs tmpfs rw
`;

test("fields, escapes and optional fields are taken apart", () => {
  const mounts = parseMountInfo(text);
  assert.equal(mounts.length, 3);
  assert.deepEqual(mounts[1], {
    id: 36,
    parentId: 31,
    major: 0,
    minor: 32,
    root: "/",
    mountPoint: "/mnt/with space\\x",
    options: ["ro", "nosuid"],
    optional: ["shared:5", "master:2"],
    fsType: "overlay",
    source: "overlay",
    superOptions: ["rw", "lowerdir=/a:/b", "upperdir=/c"],
  });
});

test("the mount of a path is the longest mount point above it", () => {
  const mounts = parseMountInfo(text);
  assert.equal(mountOf("/mnt/with space\\x/deep/file", mounts)?.root, "/sub");
  assert.equal(mountOf("/mnt/with space\\xyz", mounts)?.fsType, "ext4");
});
