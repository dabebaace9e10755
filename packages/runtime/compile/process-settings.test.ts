import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createProgramBuilder } from "#program/program-builder.ts";
import { labelMounts, labelsForExec, takeLabels } from "#runtime/compile/labels.ts";
import { setPersonality } from "#runtime/compile/personality.ts";
import { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { joinRdtGroup, rdtGroup } from "#runtime/compile/resource-director.ts";
import { setCpuAffinity, setScheduling } from "#runtime/compile/scheduling.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import type { SpecProcess } from "#runtime/spec-types.ts";

const host: HostFacts = {
  architecture: "x64",
  lastCapability: 40,
  seccompActions: [],
  apparmor: true,
  selinux: true,
  resctrl: "/sys/fs/resctrl",
  kernelRelease: "6.1.0",
};
const base: SpecProcess = { cwd: "/", user: { uid: 0, gid: 0 } };

/** What is written: the reasons, and the bytes of the program for what lies in its data. */
function written(write: (w: ProgramWriter) => void) {
  const w = new ProgramWriter(createProgramBuilder("x64"), "x64");
  write(w);
  // A program has at least one.
  w.b.exit(0);
  const program = w.b.finish();
  return { listing: program.listing().replace(/^.*# exit with 0\n/m, ""), data: Buffer.from(program.bytes) };
}
const struct = (...fields: [4 | 8, number][]) => {
  const content = Buffer.alloc(fields.reduce((sum, [width]) => sum + width, 0));
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 4) content.writeInt32LE(value, at);
    else content.writeBigInt64LE(BigInt(value), at);
    at += width;
  }
  return content;
};

describe("scheduling", () => {
  it("is a struct sched_attr", () => {
    const scheduler = {
      policy: "SCHED_DEADLINE",
      flags: ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"],
      runtime: 10_000_000,
      deadline: 20_000_000,
      period: 30_000_000,
    };
    const { listing, data } = written((w) => setScheduling(w, { ...base, scheduler }));
    assert.match(listing, /sched_setattr\(0, .*, 0\) +# set process\.scheduler to SCHED_DEADLINE/);
    const size = 56;
    const expected = struct([4, size], [4, 6], [8, 5], [4, 0], [4, 0], [8, 1e7], [8, 2e7], [8, 3e7]);
    assert.ok(data.includes(expected));
  });

  it("has niceness or priority", () => {
    const fifo = written((w) =>
      setScheduling(w, { ...base, scheduler: { policy: "SCHED_FIFO", priority: 42 } }),
    );
    assert.ok(fifo.data.includes(struct([4, 56], [4, 1], [8, 0], [4, 0], [4, 42])));
    const batch = written((w) =>
      setScheduling(w, { ...base, scheduler: { policy: "SCHED_BATCH", nice: -7 } }),
    );
    assert.ok(batch.data.includes(struct([4, 56], [4, 3], [8, 0], [4, -7], [4, 0])));
  });

  it("has classes of input and output", () => {
    const { listing } = written((w) =>
      setScheduling(w, { ...base, ioPriority: { class: "IOPRIO_CLASS_RT", priority: 3 } }),
    );
    assert.match(listing, /ioprio_set\(1, 0, 0x2003\)/);
    assert.equal(written((w) => setScheduling(w, base)).listing, "");
  });

  it("has a mask of CPUs, no longer than need be", () => {
    const process = { ...base, execCPUAffinity: { initial: "0-2,65", final: "" } };
    const { listing, data } = written((w) => setCpuAffinity(w, process, "initial"));
    assert.match(listing, /sched_setaffinity\(0, 0x10, /);
    assert.ok(data.includes(struct([8, 0b111], [8, 0b10])));
    assert.equal(written((w) => setCpuAffinity(w, process, "final")).listing, "");
  });
});

describe("personality", () => {
  it("is a number", () => {
    assert.match(written((w) => setPersonality(w, { domain: "LINUX32" })).listing, /personality\(8\)/);
    assert.match(written((w) => setPersonality(w, { domain: "LINUX" })).listing, /personality\(0\)/);
  });
});

describe("labels", () => {
  it("wait for execve in files of the process", () => {
    const process = { ...base, apparmorProfile: "docker-default", selinuxLabel: "u:r:t:s0" };
    assert.deepEqual(
      labelsForExec(process).map(({ file, text }) => [file, text]),
      [
        ["attr/apparmor/exec", "exec docker-default"],
        ["attr/keycreate", "u:r:t:s0"],
        ["attr/exec", "u:r:t:s0"],
      ],
    );
    assert.match(written((w) => takeLabels(w, process)).listing, /"\/proc\/self\/attr\/apparmor\/exec"/);
    assert.equal(written((w) => takeLabels(w, base)).listing, "");
  });

  it("are an option of the file systems that take one", () => {
    const mounts = [
      { destination: "/proc", type: "proc" },
      { destination: "/dev", type: "tmpfs", options: ["nosuid"] },
      { destination: "/data", type: "none", options: ["rbind"] },
      { destination: "/data", options: ["rbind"] },
      { destination: "/dev/pts", type: "devpts" },
    ];
    assert.deepEqual(
      labelMounts(mounts, "u:r:t:s0:c1,c2", host).map(({ options = [] }) => options),
      [[], ["nosuid", "context=u:r:t:s0:c1,c2"], ["rbind"], ["rbind"], ["context=u:r:t:s0:c1,c2"]],
    );
    assert.deepEqual(labelMounts(mounts, undefined, { ...host, selinux: false }), mounts);
    assert.throws(() => labelMounts(mounts, "x", { ...host, selinux: false }), /linux\.mountLabel/);
  });
});

describe("shares of the processor", () => {
  it("are a group of the container's name that goes with it", () => {
    const rdt = { l3CacheSchema: "L3:0=7f0\nMB:0=70", memBwSchema: "MB:0=20" };
    assert.deepEqual(rdtGroup(rdt, "box", "/r"), { path: "/r/box", own: true, mustExist: false });
    const { listing, data } = written((w) => joinRdtGroup(w, rdt, "box", host));
    assert.match(listing, /mkdirat\(.*"\/sys\/fs\/resctrl\/box"/);
    assert.match(listing, /"\/sys\/fs\/resctrl\/box\/tasks"/);
    assert.ok(data.includes("L3:0=7f0\n") && data.includes("MB:0=20\n"));
    assert.ok(!data.includes("MB:0=70"));
  });

  it("are those of others by their closID", () => {
    assert.deepEqual(rdtGroup({ closID: "gold" }, "box", "/r"), {
      path: "/r/gold",
      own: false,
      mustExist: true,
    });
    const { listing } = written((w) =>
      joinRdtGroup(w, { closID: "gold", enableMonitoring: true }, "box", host),
    );
    assert.doesNotMatch(listing, /mkdirat\(.*"\/sys\/fs\/resctrl\/gold"/);
    assert.match(listing, /mkdirat\(.*"\/sys\/fs\/resctrl\/gold\/mon_groups\/box"/);
    const settings = { closID: "gold", schemata: ["L3:0=f"] };
    assert.match(written((w) => joinRdtGroup(w, settings, "box", host)).listing, /mkdirat/);
  });
});
