/** Filters as the kernel applies them: real calls of every ABI of this machine. Needs root, busybox-static and gcc. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { type Architecture, syscallNumber } from "#program/syscall-numbers.ts";
import { Containers, type FullSpec } from "#runtime/container.test-tool.ts";
import { evaluateRules } from "#runtime/seccomp/interpret-filter.test-tool.ts";
import type { SeccompAction, SpecSeccomp } from "#runtime/spec-types.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const FIXTURES = join(import.meta.dirname, "../../../test/fixtures");
/** 128 and SIGSYS. */
const KILLED = 159;
const NATIVE = process.arch === "arm64" ? "arm64" : "x64";
const NATIVE_NAME = process.arch === "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64";
const x86Only = { skip: process.arch !== "x64" };

let containers: Containers;
before(() => {
  containers = new Containers();
  for (const [name, source] of Object.entries({ probe: "raw-syscalls.c", agent: "seccomp-agent.c" })) {
    execFileSync("gcc", ["-O1", "-static", "-o", join(containers.directory, name), join(FIXTURES, source)]);
  }
  copyFileSync(join(containers.directory, "probe"), join(containers.rootfs, "bin/probe"));
});
after(() => containers[Symbol.asyncDispose]());

/** A call for the probe: "x64:39:1,2". */
const call = (name: string, args: readonly bigint[] = [], abi: Architecture = NATIVE) => {
  const number = (syscallNumber(name, abi) ?? -1) & ~0x4000_0000;
  return `${abi}:${number}:${args.join(",")}`;
};

async function probe(
  seccomp: SpecSeccomp,
  ...calls: string[]
): Promise<{ lines: string[]; exitCode: number }> {
  const { output, exitCode } = await containers.run({
    args: ["/bin/probe", ...calls],
    spec: (spec) => {
      spec.linux.seccomp = seccomp;
    },
  });
  return { lines: output.trim().split("\n").filter(Boolean), exitCode };
}

const rule = (action: SeccompAction, names: string[], errnoRet?: number): SpecSeccomp => ({
  defaultAction: "SCMP_ACT_ALLOW",
  syscalls: [{ names, action, ...(errnoRet !== undefined && { errnoRet }) }],
});

describe("actions", () => {
  const outcome = async (action: SeccompAction, errnoRet?: number) => {
    const { lines, exitCode } = await probe(
      rule(action, ["getppid"], errnoRet),
      call("getppid"),
      call("getuid"),
    );
    return exitCode === 0
      ? lines.join(" ")
      : exitCode === KILLED
        ? "killed"
        : `${lines.join(" ")} (${exitCode})`;
  };

  it("let calls be made, with or without a word in the log", async () => {
    assert.equal(await outcome("SCMP_ACT_ALLOW"), "0 0");
    assert.equal(await outcome("SCMP_ACT_LOG"), "0 0");
  });

  it("give an errno: EPERM, or the one that is asked for", async () => {
    assert.equal(await outcome("SCMP_ACT_ERRNO"), "-1 0");
    assert.equal(await outcome("SCMP_ACT_ERRNO", 77), "-77 0");
    assert.equal(await outcome("SCMP_ACT_ERRNO", 0), "0 0");
  });

  it("kill", async () => {
    for (const action of ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] as const)
      assert.equal(await outcome(action), "killed", action);
  });

  it("trap, or ask a tracer that isn't there", async () => {
    assert.equal(await outcome("SCMP_ACT_TRAP"), `trap ${syscallNumber("getppid", NATIVE)} errno 0 (8)`);
    assert.equal(await outcome("SCMP_ACT_TRACE", 5), "-38 0");
  });

  it("by default, with an errno of its own; newer calls are not there", async () => {
    const allowed =
      "execve exit exit_group write read brk mmap munmap mprotect arch_prctl set_tid_address set_robust_list " +
      "rseq prlimit64 readlinkat getrandom newfstatat fstat ioctl rt_sigaction sigaltstack readlink uname futex capset prctl";
    const seccomp: SpecSeccomp = {
      defaultAction: "SCMP_ACT_ERRNO",
      defaultErrnoRet: 99,
      syscalls: [{ names: allowed.split(" "), action: "SCMP_ACT_ALLOW" }],
    };
    const { lines } = await probe(seccomp, call("getppid"), call("mkdirat"), `${NATIVE}:5000:`);
    assert.deepEqual(lines, ["-99", "-99", "-38"]);
  });
});

describe("architectures", x86Only, () => {
  const seccomp = (...architectures: string[]): SpecSeccomp => ({
    ...rule("SCMP_ACT_ERRNO", ["getppid"], 42),
    architectures,
  });
  const ask = (filter: SpecSeccomp, abi: Architecture) =>
    probe(filter, call("getuid", [], abi), call("getppid", [], abi));

  it("that are listed have their own numbers", async () => {
    const all = seccomp(NATIVE_NAME, "SCMP_ARCH_X86", "SCMP_ARCH_X32");
    assert.deepEqual((await ask(all, "x64")).lines, ["0", "-42"]);
    assert.deepEqual((await ask(all, "x86")).lines, ["0", "-42"]);
    // What the kernel has no calls for is still asked for.
    assert.equal((await ask(all, "x32")).lines[1], "-42");
  });

  it("that are not listed are no way around", async () => {
    for (const abi of ["x86", "x32"] as const)
      assert.deepEqual(await ask(seccomp(NATIVE_NAME), abi), { lines: [], exitCode: KILLED }, abi);
    assert.deepEqual((await ask(seccomp("SCMP_ARCH_X86"), "x64")).lines, ["0", "-42"]);
  });
});

describe("conditions", () => {
  const names = ["getppid", "getuid", "getgid", "geteuid", "getegid"];
  const wide = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.constantFrom(
      0n,
      1n,
      0xffff_ffffn,
      0x1_0000_0000n,
      0x1_0000_0001n,
      0x8000_0000_0000_0000n,
      2n ** 64n - 1n,
    ),
  );
  const condition = fc.record({
    index: fc.nat({ max: 5 }),
    value: wide,
    valueTwo: wide,
    op: fc.constantFrom("EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ").map((op) => `SCMP_CMP_${op}`),
  });
  const rules = fc.array(
    fc.record({
      names: fc.subarray(names, { minLength: 1 }),
      action: fc.constant<SeccompAction>("SCMP_ACT_ERRNO"),
      errnoRet: fc.integer({ min: 1, max: 4095 }),
      args: fc.array(condition, { maxLength: 4 }),
    }),
    { minLength: 1, maxLength: 8 },
  );
  const calls = fc.array(
    fc.record({ name: fc.constantFrom(...names), args: fc.array(wide, { minLength: 6, maxLength: 6 }) }),
    { minLength: 100, maxLength: 100 },
  );

  it("hold in the kernel as they read", async () => {
    await fc.assert(
      fc.asyncProperty(rules, calls, async (syscalls, asked) => {
        // Values of the rules themselves are where it matters.
        const hits = syscalls.flatMap(({ args, names: [name = ""] }) =>
          args.map(({ index, value }) => ({
            name,
            args: Array.from({ length: 6 }, (_, at) => (at === index ? value : 0n)),
          })),
        );
        const all = [...asked, ...hits];
        const seccomp: SpecSeccomp = { defaultAction: "SCMP_ACT_ALLOW", syscalls };
        const { lines, exitCode } = await probe(seccomp, ...all.map(({ name, args }) => call(name, args)));
        assert.equal(exitCode, 0);
        const expected = all.map(({ name, args }) => {
          const result = evaluateRules(seccomp, NATIVE, syscallNumber(name, NATIVE) ?? -1, args);
          return result === 0x7fff_0000 ? "0" : String(-(result & 0xffff));
        });
        assert.deepEqual(lines, expected);
      }),
      { numRuns: 25, endOnFailure: true },
    );
  });
});

describe("flags", () => {
  it("are the kernel's", async () => {
    const flags = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"].map(
      (name) => `SECCOMP_FILTER_FLAG_${name}`,
    );
    const { lines } = await probe({ ...rule("SCMP_ACT_ERRNO", ["getppid"], 3), flags }, call("getppid"));
    assert.deepEqual(lines, ["-3"]);
  });

  it("work without no-new-privileges too", async () => {
    const { output } = await containers.run({
      args: ["sh", "-c", "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; mkdir /tmp/d"],
      spec: (spec) => {
        spec.process.noNewPrivileges = false;
        spec.process.user = { uid: 1000, gid: 1000 };
        spec.linux.seccomp = rule("SCMP_ACT_ERRNO", ["mkdir", "mkdirat"], 28);
      },
    });
    assert.match(output, /NoNewPrivs:\t0\nSeccomp:\t2\nmkdir: .*No space left/);
  });
});

describe("notification", () => {
  let agent: ChildProcess;
  let printed = "";
  let path: string;
  before(async () => {
    path = join(containers.directory, "agent.sock");
    const number = String(syscallNumber("mkdirat", NATIVE));
    agent = spawn(join(containers.directory, "agent"), [path, number, "42"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    agent.stdout?.on("data", (chunk: Buffer) => {
      printed += chunk;
    });
    await eventually(() => assert.match(printed, /listening/));
  });
  after(() => agent.kill());

  const states = () =>
    printed
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
  const notify = (spec: FullSpec) => {
    spec.annotations = { "a.b": 'c"d' };
    spec.linux.seccomp = {
      ...rule("SCMP_ACT_NOTIFY", ["mkdirat", "openat", "close", "read", "execve", "capset", "prctl"]),
      flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
      listenerPath: path,
      listenerMetadata: 'for "you"',
    };
  };
  const mkdir = call("mkdirat", []);

  it("asks the agent, who knows whose call it is; privileged or not", async () => {
    for (const noNewPrivileges of [true, false]) {
      const running = await containers.start({
        args: ["/bin/probe", mkdir, call("getppid")],
        spec: (spec) => {
          notify(spec);
          spec.process.noNewPrivileges = noNewPrivileges;
        },
      });
      assert.equal((await running.exited).exitCode, 0);
      assert.equal(running.output(), "-42\n0\n");
      const { id, launch, pid } = running;
      await eventually(() => assert.equal(states().at(-1)?.pid, pid));
      const { ociVersion, ...state } = states().at(-1);
      assert.match(ociVersion, /^1\.\d+\.\d+$/);
      assert.deepEqual(state, {
        fds: ["seccompFd"],
        pid,
        metadata: 'for "you"',
        state: {
          ociVersion,
          id,
          status: "creating",
          pid,
          bundle: launch.execDirectory,
          annotations: { "a.b": 'c"d' },
        },
      });
      await running[Symbol.asyncDispose]();
    }
  });

  it("asks for a further process too", async () => {
    const running = await containers.start({ args: ["sleep", "1000"], spec: notify });
    await eventually(() => assert.equal(states().at(-1)?.pid, running.pid));
    const before = states().length;
    const args = ["sh", "-c", `probe ${mkdir} > /out`];
    assert.equal((await containers.exec(running, { args })).exitCode, 0);
    assert.equal(readFileSync(join(containers.directory, running.id, "upper/out"), "utf8"), "-42\n");
    await eventually(() => assert.equal(states().length, before + 1));
    const found = states().slice(before);
    assert.equal(found[0].state.status, "running");
    assert.equal(found[0].state.pid, running.pid);
    assert.notEqual(found[0].pid, running.pid);
    await running[Symbol.asyncDispose]();
  });

  it("leaves the listener with nobody else", async () => {
    const { output } = await containers.run({ args: ["ls", "-l", "/proc/self/fd"], spec: notify });
    assert.doesNotMatch(output, /seccomp|socket/);
  });

  it("fails the start where there is no agent", async () => {
    const start = containers.start({
      args: ["true"],
      spec: (spec) => {
        notify(spec);
        (spec.linux.seccomp as SpecSeccomp).listenerPath = "/nosuch/agent.sock";
      },
    });
    await assert.rejects(start, /connect to the seccomp agent at \/nosuch\/agent\.sock: ENOENT/);
  });

  it("tells of a child that has failed before there was a filter", async () => {
    const start = containers.start({
      args: ["true"],
      spec: (spec) => {
        notify(spec);
        spec.process.scheduler = { policy: "SCHED_ISO" };
      },
    });
    await assert.rejects(start, /process\.scheduler/);
  });
});
