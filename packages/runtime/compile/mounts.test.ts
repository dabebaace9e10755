import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { createProgramBuilder } from "#program/program-builder.ts";
import { takeBindSources } from "#runtime/compile/bind-mounts.ts";
import { planMounts } from "#runtime/compile/mount-plan.ts";
import { closeToWriting, mountAll } from "#runtime/compile/mounts.ts";
import { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { defaultSpec } from "#runtime/default-spec.ts";
import type { ContainerParts } from "#runtime/launch-types.ts";
import type { SpecMount } from "#runtime/spec-types.ts";

function listing(mounts: SpecMount[], architecture: "x64" | "arm64" = "x64"): string {
  const spec = defaultSpec({ architecture, kernelRelease: "6.1.0" });
  spec.linux.namespaces?.push({ type: "cgroup" });
  const parts: ContainerParts = {
    id: "0123",
    spec,
    rootfs: { kind: "directory", path: "/bundle/rootfs" },
    cgroups: { version: 2, v1: {}, v2: "/sys/fs/cgroup", v2Controllers: ["pids"] },
    sandbox: { host: [], container: [], sysctls: {} },
    execDirectory: "/run/x/0123",
    host: {
      architecture,
      lastCapability: 40,
      seccompActions: [],
      apparmor: false,
      kernelRelease: "6.1.0",
    } as unknown as ContainerParts["host"],
  };
  const w = new ProgramWriter(createProgramBuilder(architecture), architecture);
  const planned = planMounts(mounts);
  takeBindSources(w, planned);
  const mounted = mountAll(w, planned, parts, w.b.register("root"));
  closeToWriting(w, mounted, true);
  return w.b.finish().listing();
}

describe("the program of mounts", () => {
  const mounts: SpecMount[] = [
    { destination: "/proc", type: "proc", source: "proc" },
    { destination: "/sys/fs/cgroup", type: "cgroup2", source: "cgroup", options: ["ro"] },
    { destination: "/full", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "ro", "sync", "acl"] },
    { destination: "/full", type: "tmpfs", options: ["remount", "size=1m", "noexec"] },
    { destination: "data", source: "/srv/data", options: ["rbind", "rro", "rslave", "rshared"] },
    { destination: "/disk", type: "ext4", source: "/dev/vdb", options: ["ro", "barrier=0"] },
  ];

  it("is what it was before", () => {
    const file = join(import.meta.dirname, "../golden/mounts.txt");
    const text = listing(mounts);
    if (process.env.BERTH_UPDATE_GOLDEN === "1") writeFileSync(file, text);
    assert.ok(existsSync(file), `${file} is missing`);
    assert.equal(text, readFileSync(file, "utf8"));
  });

  it("differs on the other architecture in numbers only", () => {
    const why = (text: string) => text.split("\n").length;
    assert.equal(why(listing(mounts, "arm64")), why(listing(mounts)));
  });

  it("follows the list, but that /proc and /sys come last", () => {
    const tmpfs = (destination: string) => ({ destination, type: "tmpfs" });
    const planned = planMounts([
      tmpfs("/sys/x"),
      tmpfs("/b"),
      { destination: "/proc", type: "proc" },
      tmpfs("/a"),
    ]);
    assert.deepEqual(
      planned.map(({ destination }) => destination),
      ["/b", "/a", "/sys/x", "/proc"],
    );
    assert.deepEqual(planMounts(undefined), []);
  });

  it("is none for what is no list of mounts", () => {
    const wrong: [unknown, RegExp][] = [
      [{}, /^mounts: must be a list/],
      [[null], /^mounts\[0\]: a mount is an object/],
      [[{ destination: "/x", type: "tmpfs", options: [1] }], /^mounts\[0\]\.options/],
      [[{ destination: "/x", type: "tmpfs", source: "a\0b" }], /^mounts\[0\]\.source/],
      [
        [{ destination: "/proc/self", type: "tmpfs" }],
        /^mounts\[0\]\.destination: invalid mount destination/,
      ],
      [[{ destination: "/proc", type: "tmpfs" }], /^mounts\[0\]\.destination: .*only a proc file system/],
    ];
    for (const [mounts, message] of wrong) {
      assert.throws(
        () => planMounts(mounts as SpecMount[]),
        (error) => isBerthError(error, "invalid") && message.test(error.message),
      );
    }
  });
});
