import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cgroupDirectories } from "#runtime/cgroups/container-cgroup.ts";
import { ownGroup, placeInDirectories, placeInScope, sliceGroup } from "#runtime/cgroups/placement.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

const v1: CgroupLayout = {
  version: 1,
  v1: { cpu: "/c/cpu,cpuacct", cpuacct: "/c/cpu,cpuacct", memory: "/c/memory" },
  v2Controllers: [],
};
const v2: CgroupLayout = { version: 2, v1: {}, v2: "/c", v2Controllers: ["pids"] };
const own = "4:memory:/jobs/7\n3:cpu,cpuacct:/\n0::/user.slice/session-1.scope\n";

describe("where a container's groups go", () => {
  it("is below the root for an absolute path", () => {
    assert.deepEqual(placeInDirectories(v1, { id: "x", cgroupsPath: "/a//b/", own }).groups, {
      "/c/cpu,cpuacct": "a/b",
      "/c/memory": "a/b",
    });
    assert.deepEqual(placeInDirectories(v2, { id: "x", cgroupsPath: "/a/b", own }).groups, { "/c": "a/b" });
  });

  it("is beside or below the caller for a relative one, and for none", () => {
    assert.deepEqual(placeInDirectories(v1, { id: "x", cgroupsPath: "a", own }).groups, {
      "/c/cpu,cpuacct": "a",
      "/c/memory": "jobs/7/a",
    });
    assert.deepEqual(placeInDirectories(v1, { id: "x", own }).groups["/c/memory"], "jobs/7/x");
    assert.deepEqual(placeInDirectories(v2, { id: "x", own }).groups, { "/c": "user.slice/x" });
    assert.deepEqual(placeInDirectories(v2, { id: "x", own: "0::/\n" }).groups, { "/c": "x" });
  });

  it("is never outside of the hierarchy", () => {
    assert.throws(
      () => placeInDirectories(v2, { id: "x", cgroupsPath: "/a/../../b", own }),
      /^BerthError: linux\.cgroupsPath: /,
    );
    assert.throws(() => placeInDirectories(v2, { id: "x", cgroupsPath: "/", own }), /linux\.cgroupsPath/);
    assert.equal(ownGroup("0::/../../x\n", []), "", "outside of our cgroup namespace");
    assert.equal(ownGroup("3:cpu:/a\n", ["memory"]), "");
  });

  it("is a scope in a slice with systemd", () => {
    const placed = placeInScope(v2, { id: "x", cgroupsPath: "a-b.slice:docker:x1" }, { user: false });
    assert.deepEqual(placed, {
      groups: { "/c": "a.slice/a-b.slice/docker-x1.scope" },
      unit: { name: "docker-x1.scope", slice: "a-b.slice", user: false },
    });
    assert.deepEqual(
      placeInScope(v1, { id: "x" }, { user: false }).groups["/c/memory"],
      "system.slice/berth-x.scope",
    );
    const user = placeInScope(v2, { id: "x" }, { user: true, managerGroup: "/user.slice/user@7.service" });
    assert.deepEqual(user.groups, { "/c": "user.slice/user@7.service/user.slice/berth-x.scope" });
    assert.deepEqual(
      placeInScope(v2, { id: "x", cgroupsPath: ":p:n" }, { user: false }).unit?.slice,
      "system.slice",
    );
  });

  it("is told by three parts with systemd, and by nothing else", () => {
    for (const cgroupsPath of ["/a/b", "a:b", "a.slice:b:", "a.slice:b:c:d"]) {
      assert.throws(
        () => placeInScope(v2, { id: "x", cgroupsPath }, { user: false }),
        /of format "slice:prefix:name"/,
      );
    }
    assert.throws(
      () => placeInScope(v2, { id: "x", cgroupsPath: "a--b.slice:p:n" }, { user: false }),
      /invalid slice name/,
    );
    assert.equal(sliceGroup("-.slice"), "");
    assert.throws(() => sliceGroup("x.service"), /invalid slice name/);
  });

  it("leaves hierarchies out that it doesn't name", () => {
    assert.deepEqual(
      cgroupDirectories(v1, { groups: { "/c/memory": "a" } }).map(({ path }) => path),
      ["/c/memory/a"],
    );
  });
});
