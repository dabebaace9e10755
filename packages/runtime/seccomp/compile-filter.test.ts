import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Architecture, syscallNumber } from "#program/syscall-numbers.ts";
import { DEFAULT_CAPABILITIES } from "#runtime/capabilities.ts";
import { compileFilter } from "#runtime/seccomp/compile-filter.ts";
import { evaluateRules, runFilter } from "#runtime/seccomp/interpret-filter.test-tool.ts";
import { defaultSeccomp, kernelAtLeast, parseProfile, resolveProfile } from "#runtime/seccomp/profile.ts";
import type { SpecSeccomp } from "#runtime/spec-types.ts";

const AUDIT: Record<Architecture, number> = {
  x64: 0xc000003e,
  x32: 0xc000003e,
  x86: 0x40000003,
  arm64: 0xc00000b7,
  arm: 0x40000028,
};
const ARCHITECTURE_NAMES: Record<Architecture, string> = {
  x64: "SCMP_ARCH_X86_64",
  x32: "SCMP_ARCH_X32",
  x86: "SCMP_ARCH_X86",
  arm64: "SCMP_ARCH_AARCH64",
  arm: "SCMP_ARCH_ARM",
};
const ALLOW = 0x7fff0000;
const errno = (code: number) => 0x50000 + code;
const KILL_PROCESS = 0x80000000;

const context = {
  capabilities: DEFAULT_CAPABILITIES,
  architecture: "x64",
  kernelRelease: "6.1.0",
} as const;

function ask(
  seccomp: SpecSeccomp,
  arch: Architecture,
  call: string | number,
  ...args: (number | bigint)[]
): number {
  const machine = arch.startsWith("x") ? "x64" : "arm64";
  const number = typeof call === "string" ? syscallNumber(call, arch) : call;
  assert.ok(number !== undefined, `${call} exists on ${arch}`);
  const filter = compileFilter(seccomp, machine);
  const six = [...args.map(BigInt), 0n, 0n, 0n, 0n, 0n, 0n].slice(0, 6);
  return runFilter(filter.instructions, { audit: AUDIT[arch], number, args: six });
}

describe("the default profile", () => {
  const profile = defaultSeccomp(context);

  it("lets ordinary calls through on every ABI of the machine", () => {
    for (const arch of ["x64", "x86", "x32"] as const) {
      for (const name of ["read", "openat", "execve", "exit_group", "futex", "chroot"]) {
        assert.equal(ask(profile, arch, name), ALLOW, `${name} on ${arch}`);
      }
    }
    assert.equal(ask(profile, "x86", "socketcall"), ALLOW);
  });

  it("refuses what only the host's administrator should do", () => {
    for (const name of [
      "mount",
      "umount2",
      "unshare",
      "setns",
      "bpf",
      "keyctl",
      "add_key",
      "kexec_load",
      "io_uring_setup",
    ]) {
      assert.equal(ask(profile, "x64", name), errno(1), name);
    }
    for (const name of [
      "fsopen",
      "fsconfig",
      "move_mount",
      "open_tree",
      "userfaultfd",
      "swapon",
      "reboot",
      "init_module",
    ]) {
      assert.equal(ask(profile, "x64", name), errno(1), name);
    }
  });

  it("allows clone for processes and threads, not for namespaces; clone3 is not there", () => {
    const SIGCHLD = 17;
    assert.equal(ask(profile, "x64", "clone", SIGCHLD), ALLOW);
    for (const flag of [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]) {
      assert.equal(ask(profile, "x64", "clone", flag | SIGCHLD), errno(1), flag.toString(16));
    }
    assert.equal(ask(profile, "x64", "clone3"), errno(38));
  });

  it("allows socket families one by one, and none hidden in the upper half of the argument", () => {
    for (const family of [1, 2, 10, 16, 17, 39, 41, 45])
      assert.equal(ask(profile, "x64", "socket", family), ALLOW);
    for (const family of [12, 37, 38, 40, 46, 0x1_0000_0002n, 0x1_0000_0026n, -1n & 0xffff_ffff_ffff_ffffn]) {
      assert.equal(ask(profile, "x64", "socket", family), errno(1), String(family));
    }
  });

  it("allows five personalities", () => {
    for (const value of [0, 8, 0x20000, 0x20008, 0xffffffff])
      assert.equal(ask(profile, "x64", "personality", value), ALLOW);
    for (const value of [1, 0x0400000, 0x1_ffff_ffffn])
      assert.equal(ask(profile, "x64", "personality", value), errno(1));
  });

  it("opens up with capabilities", () => {
    const admin = defaultSeccomp({ ...context, capabilities: [...DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN"] });
    for (const name of ["mount", "unshare", "clone3", "setns", "bpf"])
      assert.equal(ask(admin, "x64", name), ALLOW, name);
    assert.equal(ask(admin, "x64", "clone", 0x10000000), ALLOW);
    assert.equal(ask(admin, "x64", "open_by_handle_at"), errno(1));
    const none = defaultSeccomp({ ...context, capabilities: [] });
    assert.equal(ask(none, "x64", "chroot"), errno(1));
  });

  it("depends on kernel and architecture", () => {
    assert.equal(ask(profile, "x64", "ptrace"), ALLOW);
    assert.equal(ask(defaultSeccomp({ ...context, kernelRelease: "4.4.0" }), "x64", "ptrace"), errno(1));
    const arm = defaultSeccomp({ ...context, architecture: "arm64" });
    assert.equal(ask(arm, "arm64", "openat"), ALLOW);
    assert.equal(ask(arm, "arm", "cacheflush"), ALLOW);
    assert.equal(ask(arm, "arm64", "mount"), errno(1));
    assert.equal(ask(profile, "x64", "arch_prctl"), ALLOW);
  });

  it("answers calls of the future with ENOSYS, so that programs fall back", () => {
    assert.equal(ask(profile, "x64", 700), errno(38));
    assert.equal(ask(profile, "x32", 0x40000000 + 700), errno(38));
    assert.equal(ask(profile, "x86", 700), errno(38));
  });

  it("kills what comes from an architecture that is not this machine's", () => {
    const filter = compileFilter(profile, "x64");
    const call = { audit: AUDIT.arm64, number: 63, args: [0n, 0n, 0n, 0n, 0n, 0n] };
    assert.equal(runFilter(filter.instructions, call), KILL_PROCESS);
  });

  it("is small, and finds a call in a dozen steps", () => {
    const { count } = compileFilter({ ...profile, architectures: ["SCMP_ARCH_X86_64"] }, "x64");
    assert.ok(count < 260, `${count} instructions`);
  });
});

describe("compiled rules", () => {
  const names = [
    "read",
    "write",
    "socket",
    "clone",
    "ptrace",
    "personality",
    "mount",
    "setns",
    "openat2",
    "futex",
  ];
  const value = fc.oneof(
    fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
    fc.constantFrom(0n, 1n, 0xffff_ffffn, 0x1_0000_0000n, 0x1_0000_0001n, 0x7e02_0000n),
  );
  const condition = fc.record({
    index: fc.integer({ min: 0, max: 2 }),
    value,
    valueTwo: value,
    op: fc.constantFrom("EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ").map((op) => `SCMP_CMP_${op}`),
  });
  const action = fc.constantFrom(
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_LOG",
  );
  const withErrno = (text: string) => text === "SCMP_ACT_ERRNO" || text === "SCMP_ACT_TRACE";
  const rule = fc
    .record({
      names: fc.subarray(names, { minLength: 1 }),
      action: fc.oneof(action, fc.constant("SCMP_ACT_NOTIFY")),
      errnoRet: fc.integer({ min: 1, max: 40 }),
      args: fc.array(condition, { maxLength: 4 }),
    })
    .map(({ errnoRet, ...call }) => ({
      ...call,
      names:
        call.action === "SCMP_ACT_NOTIFY"
          ? call.names.map((name) => name.replace("write", "read"))
          : call.names,
      ...(withErrno(call.action) && { errnoRet }),
    }));
  const rules = fc.record({
    defaultAction: action,
    listenerPath: fc.constant("/run/agent.sock"),
    architectures: fc.subarray(Object.values(ARCHITECTURE_NAMES)),
    syscalls: fc.array(rule, { maxLength: 8 }),
  }) as fc.Arbitrary<SpecSeccomp>;

  it("agree with looking at every rule", () => {
    fc.assert(
      fc.property(
        rules,
        fc.constantFrom<Architecture>("x64", "x86", "x32", "arm64", "arm"),
        fc.oneof(fc.constantFrom(...names), fc.integer({ min: 0, max: 500 })),
        fc.array(value, { minLength: 6, maxLength: 6 }),
        (seccomp, arch, call, args) => {
          const number =
            typeof call === "number" ? call + (arch === "x32" ? 0x40000000 : 0) : syscallNumber(call, arch);
          fc.pre(number !== undefined);
          const machine = arch.startsWith("x") ? "x64" : "arm64";
          const covered = arch === machine || seccomp.architectures?.includes(ARCHITECTURE_NAMES[arch]);
          const expected = covered ? evaluateRules(seccomp, arch, number, args) : KILL_PROCESS;
          const { instructions } = compileFilter(seccomp, machine);
          assert.equal(runFilter(instructions, { audit: AUDIT[arch], number, args }), expected);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("agree over the whole default profile", () => {
    for (const capabilities of [[], DEFAULT_CAPABILITIES, ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF"]]) {
      for (const architecture of ["x64", "arm64"] as const) {
        const seccomp = defaultSeccomp({ ...context, architecture, capabilities });
        const { instructions } = compileFilter(seccomp, architecture);
        const family: Architecture[] = architecture === "x64" ? ["x64", "x86", "x32"] : ["arm64", "arm"];
        for (const arch of family) {
          for (let index = 0; index < 480; index++) {
            const number = index + (arch === "x32" ? 0x40000000 : 0);
            for (const first of [0n, 2n, 38n, 0x10000000n, 0xffffffffn]) {
              const args = [first, 0n, 0n, 0n, 0n, 0n];
              const expected = evaluateRules(seccomp, arch, number, args);
              assert.equal(
                runFilter(instructions, { audit: AUDIT[arch], number, args }),
                expected,
                `${arch} ${number}`,
              );
            }
          }
        }
      }
    }
  });

  it("reach far targets through long jumps", () => {
    const syscalls = Array.from({ length: 300 }, (_, index) => ({
      names: ["personality"],
      action: "SCMP_ACT_ALLOW" as const,
      args: [{ index: 0, value: index * 2, op: "SCMP_CMP_EQ" }],
    }));
    const seccomp: SpecSeccomp = { defaultAction: "SCMP_ACT_ERRNO", syscalls };
    assert.equal(ask(seccomp, "x64", "personality", 598), ALLOW);
    assert.equal(ask(seccomp, "x64", "personality", 599), errno(1));
    assert.equal(ask(seccomp, "x64", "personality", 0), ALLOW);
  });

  it("refuse nonsense", () => {
    const compile = (seccomp: unknown) => () => compileFilter(seccomp as SpecSeccomp, "x64");
    assert.throws(compile({ defaultAction: "SCMP_ACT_MAYBE" }), /unknown action/);
    assert.throws(compile({ defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 5000 }), /out of range/);
    const arg = { index: 6, value: 0, op: "SCMP_CMP_EQ" };
    const call = { names: ["read"], action: "SCMP_ACT_ALLOW", args: [arg] };
    assert.throws(compile({ defaultAction: "SCMP_ACT_ERRNO", syscalls: [call] }), /index 6/);
    assert.throws(compile({ defaultAction: "SCMP_ACT_ALLOW", flags: ["NO_SUCH"] }), /flags: unknown flag/);
    assert.throws(
      compile({ defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_Z80"] }),
      /SCMP_ARCH_Z80/,
    );
    assert.throws(compile({ defaultAction: "SCMP_ACT_ALLOW", defaultErrnoRet: 5 }), /has no errno/);
    assert.throws(
      compile({
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["read"], action: "SCMP_ACT_KILL", errnoRet: 1 }],
      }),
      /errnoRet: the action SCMP_ACT_KILL has no errno/,
    );
    assert.throws(
      compile({
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [
          {
            names: ["personality"],
            action: "SCMP_ACT_ERRNO",
            args: Array.from({ length: 2000 }, (_, value) => ({
              index: 0,
              value: value * 7,
              op: "SCMP_CMP_EQ",
            })),
          },
        ],
      }),
      /linux\.seccomp: too long/,
    );
  });
});

describe("notification", () => {
  const notify = (change: Partial<SpecSeccomp> = {}): SpecSeccomp => ({
    defaultAction: "SCMP_ACT_ALLOW",
    listenerPath: "/run/agent.sock",
    syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }],
    ...change,
  });

  it("asks the kernel for a listener, and lets it be killed while it waits", () => {
    const filter = compileFilter(notify(), "x64");
    assert.ok(filter.notifies);
    assert.equal(filter.flags & 8, 8);
    assert.equal(ask(notify(), "x64", "mkdir"), 0x7fc00000);
    const flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"];
    assert.equal(compileFilter(notify({ flags }), "x64").flags, 8 | 32);
  });

  it("leaves the flag of listeners out where there is none", () => {
    const flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_LOG"];
    const filter = compileFilter({ defaultAction: "SCMP_ACT_ALLOW", flags }, "x64");
    assert.equal(filter.flags, 2);
    assert.ok(!filter.notifies);
  });

  it("refuses what nobody could answer", () => {
    const refused = (change: Partial<SpecSeccomp>, message: RegExp) =>
      assert.throws(() => compileFilter(notify(change), "x64"), message);
    refused({ defaultAction: "SCMP_ACT_NOTIFY" }, /SCMP_ACT_NOTIFY cannot be used as default action/);
    const write = [{ names: ["mkdir", "write"], action: "SCMP_ACT_NOTIFY" as const }];
    refused({ syscalls: write }, /SCMP_ACT_NOTIFY cannot be used for the write syscall/);
    const { listenerPath: _, ...deaf } = notify();
    assert.throws(() => compileFilter(deaf, "x64"), /listenerPath/);
  });
});

describe("profiles", () => {
  it("are remembered by context, so that a filter is compiled once", () => {
    assert.equal(defaultSeccomp(context), defaultSeccomp({ ...context }));
    assert.notEqual(defaultSeccomp(context), defaultSeccomp({ ...context, capabilities: [] }));
  });

  it("must be JSON objects that do not contradict themselves", () => {
    assert.throws(() => parseProfile("{"), /Decoding seccomp profile failed/);
    assert.throws(() => parseProfile("[]"), /no defaultAction/);
    const both = parseProfile(
      '{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}',
    );
    assert.throws(() => resolveProfile(both, context), /either one/);
    const named = parseProfile(
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"chmod","action":"SCMP_ACT_ERRNO"}]}',
    );
    assert.equal(ask(resolveProfile(named, context), "x64", "chmod"), errno(1));
  });

  it("compare kernel releases by their first two numbers", () => {
    assert.ok(kernelAtLeast("4.8.0", "4.8"));
    assert.ok(kernelAtLeast("10.0-rc1", "4.8"));
    assert.ok(!kernelAtLeast("4.7.99", "4.8"));
  });
});
