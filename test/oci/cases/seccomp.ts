/** System call filters, by calls of every kind of this machine; and what of a process is easily misread. */
import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SpecSeccomp } from "#runtime/spec-types.ts";
import type { Case, FullSpec, Rig } from "#test/oci/rig.ts";

const SOURCE = join(import.meta.dirname, "../../fixtures/raw-syscalls.c");
const [NATIVE, NATIVE_NAME] =
  process.arch === "arm64" ? ["arm64", "SCMP_ARCH_AARCH64"] : ["x64", "SCMP_ARCH_X86_64"];
/** Numbers of getppid and getuid. */
const PPID = { x64: 110, x32: 110, x86: 64, arm64: 173 } as const;
const UID = { x64: 102, x32: 102, x86: 24, arm64: 174 } as const;

/** Calls, of which the output and the end are seen. */
function filtered(
  name: string,
  seccomp: SpecSeccomp,
  calls: readonly string[],
  differs?: Case["differs"],
): Case {
  return {
    name,
    run(rig) {
      const probe = join(rig.rootfs, "bin/probe");
      if (!existsSync(probe)) execFileSync("gcc", ["-O1", "-static", "-o", probe, SOURCE]);
      rig.script("calls", `probe ${calls.join(" ")}; echo ended $?`, (spec) => {
        spec.linux.seccomp = seccomp;
      });
    },
    ...(differs && { differs }),
  };
}

const ppid = (abi: keyof typeof PPID, ...args: (number | string)[]) =>
  `${abi}:${PPID[abi]}:${args.join(",")}`;
const uid = (abi: keyof typeof UID) => `${abi}:${UID[abi]}:`;
const native = NATIVE as "x64" | "arm64";

type Rules = NonNullable<SpecSeccomp["syscalls"]>;
const allowing = (syscalls: Rules, architectures: string[] = [NATIVE_NAME as string]): SpecSeccomp => ({
  defaultAction: "SCMP_ACT_ALLOW",
  architectures,
  syscalls,
});
const refuse: Rules = [{ names: ["getppid"], action: "SCMP_ACT_ERRNO", errnoRet: 42 }];
const when = (errnoRet: number, ...args: NonNullable<Rules[number]["args"]>): Rules[number] => ({
  names: ["getppid"],
  action: "SCMP_ACT_ERRNO",
  errnoRet,
  args,
});
const is = (index: number, op: string, value: number, valueTwo?: number) => ({
  index,
  op: `SCMP_CMP_${op}`,
  value,
  ...(valueTwo !== undefined && { valueTwo }),
});
const around = [0, 1, 4, 5, 6, 4294967295, 4294967296, 4294967301];
const asked = (index: number) =>
  around.map((value) => ppid(native, ...Array.from({ length: 6 }, (_, at) => (at === index ? value : 0))));

const x86Cases: Case[] = [
  filtered(
    "calls of three architectures",
    allowing(refuse, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
    [uid("x64"), ppid("x64"), uid("x86"), ppid("x86"), ppid("x32")],
  ),
  filtered("32-bit calls where they are not listed", allowing(refuse), [uid("x64"), uid("x86"), uid("x64")]),
  filtered("x32 calls where they are not listed", allowing(refuse), [uid("x64"), uid("x32"), uid("x64")]),
];

function inside(name: string, script: string, change: (spec: FullSpec) => void): Case {
  return { name, run: (rig: Rig) => void rig.script("inside", script, change) };
}

export const seccompCases: Case[] = [
  ...(process.arch === "x64" ? x86Cases : []),
  ...["EQ", "NE", "LT", "LE", "GT", "GE"].map((op) =>
    filtered(`arguments compared by ${op}`, allowing([when(42, is(3, op, 5))]), asked(3)),
  ),
  filtered("arguments compared under a mask", allowing([when(42, is(0, "MASKED_EQ", 0xff, 5))]), asked(0)),
  filtered("several conditions at once", allowing([when(42, is(0, "GE", 4), is(1, "EQ", 1))]), [
    ppid(native, 4, 1),
    ppid(native, 4, 0),
    ppid(native, 3, 1),
  ]),
  filtered("one argument twice", allowing([when(42, is(0, "LT", 2), is(0, "GT", 5))]), asked(0)),
  filtered("several rules for a call", allowing([when(42, is(0, "EQ", 1)), when(43, is(1, "EQ", 1))]), [
    ppid(native, 1, 0),
    ppid(native, 0, 1),
    ppid(native, 0, 0),
  ]),
  filtered("a trap", allowing([{ names: ["getppid"], action: "SCMP_ACT_TRAP" }]), [
    ppid(native),
    uid(native),
  ]),
  filtered(
    "a tracer that isn't there",
    allowing([{ names: ["getppid"], action: "SCMP_ACT_TRACE", errnoRet: 7 }]),
    [ppid(native), uid(native)],
  ),
  filtered("a word in the log", allowing([{ names: ["getppid"], action: "SCMP_ACT_LOG" }]), [ppid(native)]),
  filtered("the end of a process", allowing([{ names: ["getppid"], action: "SCMP_ACT_KILL_PROCESS" }]), [
    ppid(native),
    uid(native),
  ]),
  filtered(
    "calls that nobody knows",
    allowing([...refuse, { names: ["nosuchcall"], action: "SCMP_ACT_KILL" }]),
    [ppid(native)],
  ),
  inside("the last of several values", "env | sort", (spec) => {
    spec.process.env = ["PATH=/bin", "A=1", "B=2", "A=3"];
  }),
  inside("no PATH to look along", "true", (spec) => {
    spec.process.env = ["A=1"];
  }),
  inside("a user that isn't given", "id; env | grep HOME", (spec) => {
    delete (spec.process as Partial<FullSpec["process"]>).user;
  }),
  inside("members that are null", "id; ulimit -n > /dev/null && echo ran", (spec) => {
    Object.assign(spec.process, { rlimits: null, oomScoreAdj: null, apparmorProfile: null });
    Object.assign(spec.process.user, { additionalGids: null, umask: null });
    Object.assign(spec.linux, { sysctl: null, seccomp: null, devices: null, personality: null });
  }),
  inside("a domain name by sysctl", "cat /proc/sys/kernel/domainname", (spec) => {
    spec.linux.sysctl = { "kernel.domainname": "example.org" };
  }),
  inside(
    "sysctls with slashes",
    "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced",
    (spec) => {
      spec.linux.sysctl = { "net/ipv4/ip_forward": "1", "kernel/shm_rmid_forced": "1" };
    },
  ),
  {
    name: "descriptors that are handed down",
    run(rig) {
      const file = join(rig.directory, "handed");
      writeFileSync(file, "text of the file\n");
      rig.configure((spec) => {
        spec.process.args = ["sh", "-c", "cat <&3; cat <&4; ls /proc/self/fd | tr '\\n' ' '"];
      });
      const through = (...options: string[]) =>
        rig.oci(["run", "-b", rig.bundle, ...options, rig.id()], { descriptors: [file, file] });
      for (const count of ["0", "1", "2"]) {
        const { code, stdout } = through("--preserve-fds", count);
        rig.see(`${count} of them`, { code, stdout });
      }
    },
  },
];
