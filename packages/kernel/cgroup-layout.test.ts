import assert from "node:assert/strict";
import { test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { detectCgroupLayout } from "#kernel/cgroup-layout.ts";

const hybrid = `31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
42 31 0:32 / /chroot/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
`;

test("a hybrid layout is version 1, with the empty version 2 hierarchy beside", () => {
  assert.deepEqual(
    detectCgroupLayout(hybrid, () => "\n"),
    {
      version: 1,
      v1: {
        cpu: "/sys/fs/cgroup/cpu,cpuacct",
        cpuacct: "/sys/fs/cgroup/cpu,cpuacct",
        memory: "/sys/fs/cgroup/memory",
        "name=systemd": "/sys/fs/cgroup/systemd",
      },
      v2: "/sys/fs/cgroup/unified",
      v2Controllers: [],
    },
  );
});

test("a unified layout is version 2 with its controllers", () => {
  const text = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
  const layout = detectCgroupLayout(text, (path) =>
    path === "/sys/fs/cgroup" ? "cpu io memory pids\n" : "",
  );
  assert.deepEqual(layout, {
    version: 2,
    v1: {},
    v2: "/sys/fs/cgroup",
    v2Controllers: ["cpu", "io", "memory", "pids"],
  });
});

test("no hierarchy at all is an error that says what to do", () => {
  assert.throws(
    () => detectCgroupLayout("27 1 254:0 / / rw - ext4 /dev/vda rw\n"),
    (error) => isBerthError(error, "unavailable") && error.hint !== undefined,
  );
});
