import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BerthError } from "#errors/errors.ts";
import { checkLinux, linuxWarnings } from "#runtime/compile/check-linux.ts";
import { checkProcess, processWarnings } from "#runtime/compile/check-process.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import type { SpecLinux, SpecProcess } from "#runtime/spec-types.ts";

const host: HostFacts = {
  architecture: "x64",
  lastCapability: 40,
  seccompActions: [],
  apparmor: false,
  kernelRelease: "6.1.0",
};
const process_ = (change: object = {}): SpecProcess => ({
  args: ["true"],
  cwd: "/",
  env: ["A=b", "C="],
  user: { uid: 0, gid: 0 },
  ...change,
});
/** One line that begins with the name of the field. */
const refused = (act: () => void, message: RegExp) =>
  assert.throws(
    act,
    (error: unknown) =>
      error instanceof BerthError &&
      error.code === "invalid" &&
      message.test(error.message) &&
      !error.message.includes("\n"),
    String(message),
  );

describe("a process", () => {
  const no = (change: object, message: RegExp, facts: Partial<HostFacts> = {}) =>
    refused(() => checkProcess(process_(change), { ...host, ...facts }), message);

  it("may be anything that makes sense", () => {
    checkProcess(process_(), host);
    checkProcess(
      process_({
        user: { uid: 4294967294, gid: 1, umask: 0o777, additionalGids: [0, 7], username: "x" },
        oomScoreAdj: -1000,
        consoleSize: { height: 0, width: 65535 },
        rlimits: [{ type: "RLIMIT_CPU", soft: 0, hard: 2 ** 64 }],
        capabilities: { bounding: ["CAP_CHOWN"], ambient: [] },
        scheduler: {
          policy: "SCHED_DEADLINE",
          runtime: 1,
          deadline: 2,
          period: 3,
          flags: ["SCHED_FLAG_RECLAIM"],
        },
        ioPriority: { class: "IOPRIO_CLASS_RT", priority: 7 },
        execCPUAffinity: { initial: "0-3,7", final: "" },
      }),
      host,
    );
  });

  it("needs a command, an environment and a directory that can be", () => {
    no({ args: undefined }, /^process\.args: no command specified/);
    no({ args: [] }, /^process\.args: /);
    no({ args: [""] }, /^process\.args: exec: ""/);
    no({ args: ["a", 1] }, /^process\.args\[1\]: must be a string/);
    no({ args: ["a\0"] }, /^process\.args\[0\]: .*NUL/);
    no({ env: ["A"] }, /^process\.env\[0\]: .*missing '='/);
    no({ env: ["A=", "=b"] }, /^process\.env\[1\]: .*name is empty/);
    no({ cwd: undefined }, /^process\.cwd: must not be empty/);
    no({ cwd: "" }, /^process\.cwd: must not be empty/);
    no({ cwd: "etc" }, /^process\.cwd: .*absolute/);
    no({ cwd: "/a/../b" }, /process\.cwd/);
  });

  it("needs a user that can be", () => {
    no({ user: undefined }, /^process\.user: /);
    no({ user: { uid: 2 ** 32 - 1, gid: 0 } }, /^process\.user\.uid: 4294967295/);
    no({ user: { uid: 0 } }, /^process\.user\.gid: /);
    no({ user: { uid: 0, gid: "0" } }, /^process\.user\.gid: "0"/);
    no({ user: { uid: 0, gid: 0, additionalGids: [0, -1] } }, /^process\.user\.additionalGids\[1\]: -1/);
    no({ user: { uid: 0, gid: 0, umask: 0o1000 } }, /^process\.user\.umask: 512/);
  });

  it("has numbers in their ranges", () => {
    for (const field of ["args", "env", "rlimits"])
      no({ [field]: "x" }, new RegExp(`^process\\.${field}: must be a list`));
    no({ capabilities: { ambient: {} } }, /^process\.capabilities\.ambient: must be a list/);
    no({ oomScoreAdj: 1001 }, /^process\.oomScoreAdj: 1001/);
    no({ oomScoreAdj: 0.5 }, /^process\.oomScoreAdj/);
    no({ consoleSize: { height: -1, width: 1 } }, /^process\.consoleSize\.height/);
    no({ consoleSize: { height: 1, width: 65536 } }, /^process\.consoleSize\.width/);
  });

  it("has each limit once, and as a pair", () => {
    const limit = (type: string, soft: number, hard: number) => ({ type, soft, hard });
    no(
      { rlimits: [limit("RLIMIT_NOSUCH", 1, 1)] },
      /^process\.rlimits\[0\]: invalid rlimit type: RLIMIT_NOSUCH/,
    );
    const twice = [limit("RLIMIT_CPU", 1, 1), limit("RLIMIT_AS", 1, 1), limit("RLIMIT_CPU", 2, 2)];
    no({ rlimits: twice }, /^process\.rlimits\[2\]: RLIMIT_CPU is there twice/);
    no({ rlimits: [limit("RLIMIT_CPU", 2, 1)] }, /greater than its hard limit/);
    no({ rlimits: [limit("RLIMIT_CPU", -1, 1)] }, /soft limit -1/);
    no({ rlimits: [limit("RLIMIT_CPU", 1, 2 ** 65)] }, /hard limit/);
  });

  it("has capabilities that there are; those this kernel lacks are told of", () => {
    no(
      { capabilities: { permitted: ["CAP_NOSUCH"] } },
      /^process\.capabilities\.permitted: unknown capability "CAP_NOSUCH"/,
    );
    no({ capabilities: { ambient: ["chown"] } }, /^process\.capabilities\.ambient/);
    const asked = process_({ capabilities: { bounding: ["CAP_BPF", "CAP_CHOWN"], effective: ["CAP_BPF"] } });
    assert.deepEqual(processWarnings(asked, host), []);
    assert.match(
      processWarnings(asked, { ...host, lastCapability: 37 }).join(),
      /unavailable capabilities: CAP_BPF$/,
    );
    assert.equal(processWarnings(asked, { ...host, availableCapabilities: 1n << 39n }).length, 1);
  });

  it("has a policy with what belongs to it", () => {
    const scheduler = (given: object, message: RegExp) => no({ scheduler: given }, message);
    scheduler({}, /^process\.scheduler\.policy: is required/);
    scheduler({ policy: "SCHED_NOSUCH" }, /^process\.scheduler\.policy: .*SCHED_NOSUCH/);
    scheduler({ policy: "SCHED_OTHER", nice: 20 }, /^process\.scheduler\.nice: invalid: 20/);
    scheduler({ policy: "SCHED_OTHER", nice: -21 }, /^process\.scheduler\.nice/);
    scheduler(
      { policy: "SCHED_BATCH", priority: 1 },
      /^process\.scheduler\.priority: .*SCHED_FIFO and SCHED_RR/,
    );
    for (const field of ["runtime", "deadline", "period"])
      scheduler(
        { policy: "SCHED_FIFO", [field]: 1 },
        new RegExp(`^process\\.scheduler\\.${field}: .*SCHED_DEADLINE`),
      );
    scheduler({ policy: "SCHED_DEADLINE", runtime: -1 }, /^process\.scheduler\.runtime: invalid/);
    scheduler(
      { policy: "SCHED_OTHER", flags: ["SCHED_FLAG_X"] },
      /^process\.scheduler\.flags: .*SCHED_FLAG_X/,
    );
    no({ ioPriority: { class: "X" } }, /^process\.ioPriority\.class: .*"X"/);
    no(
      { ioPriority: { class: "IOPRIO_CLASS_BE", priority: 8 } },
      /^process\.ioPriority\.priority: invalid: 8/,
    );
    for (const list of ["a", "1-", "3-1", "0,,1", "8192", "-1"])
      no({ execCPUAffinity: { initial: list } }, /^process\.execCPUAffinity\.initial: .*no list of CPUs/);
  });

  it("has labels where the kernel has", () => {
    no({ apparmorProfile: "p" }, /^process\.apparmorProfile: .*apparmor is not enabled/);
    checkProcess(process_({ apparmorProfile: "p" }), { ...host, apparmor: true });
    no(
      { selinuxLabel: "l" },
      /^process\.selinuxLabel: selinux label is specified in config, but selinux is disabled/,
    );
    checkProcess(process_({ selinuxLabel: "l" }), { ...host, selinux: true });
  });
});

describe("the rest of linux", () => {
  const no = (linux: SpecLinux, message: RegExp, facts: Partial<HostFacts> = {}) =>
    refused(() => checkLinux(linux, { ...host, ...facts }), message);

  it("has a personality of two", () => {
    no({ personality: { domain: "BSD" } }, /^linux\.personality\.domain: invalid personality domain BSD/);
    checkLinux({ personality: { domain: "LINUX", flags: ["X"] } }, host);
    assert.match(
      linuxWarnings({ personality: { domain: "LINUX", flags: ["X"] } }).join(),
      /flags: ignoring .*X/,
    );
    assert.deepEqual(linuxWarnings({ personality: { domain: "LINUX32" } }), []);
  });

  it("has offsets of two clocks", () => {
    no({ timeOffsets: { realtime: { secs: 1 } } }, /^linux\.timeOffsets: unknown clock "realtime"/);
    no({ timeOffsets: { monotonic: { secs: 0.5 } } }, /^linux\.timeOffsets: monotonic\.secs/);
    no({ timeOffsets: { boottime: { nanosecs: 1e9 } } }, /^linux\.timeOffsets: boottime\.nanosecs/);
    checkLinux({ timeOffsets: { boottime: { secs: -5, nanosecs: 999_999_999 }, monotonic: {} } }, host);
  });

  it("has shares of the processor where resctrl is mounted", () => {
    no({ intelRdt: {} }, /^linux\.intelRdt is specified in config, but Intel RDT is not enabled/);
    const resctrl = "/sys/fs/resctrl";
    for (const closID of ["a/b", "..", ".", ""])
      no({ intelRdt: { closID } }, /^linux\.intelRdt\.closID/, { resctrl });
    no({ intelRdt: { schemata: ["L3:0=f\nMB:0=10"] } }, /^linux\.intelRdt\.schemata/, { resctrl });
    checkLinux({ intelRdt: { closID: "group", schemata: ["L3:0=f"] } }, { ...host, resctrl });
  });
});
