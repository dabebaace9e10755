/** Who the process is and what it may do. */
import type { Case, FullSpec, Rig } from "#test/oci/rig.ts";

const one = (
  name: string,
  script: string,
  change: (spec: FullSpec) => void = () => {},
  differs?: Case["differs"],
): Case => ({
  name,
  run: (rig: Rig) => void rig.script("inside", script, change),
  ...(differs && { differs }),
});
const CAPS = "grep -E '^Cap' /proc/self/status";

export const processCases: Case[] = [
  one("environment, and nothing besides", "env | sort", (spec) => {
    spec.process.env = ["PATH=/bin", "A=b c", "EMPTY="];
  }),
  one("working directory", "pwd", (spec) => {
    spec.process.cwd = "/tmp";
  }),
  one("capabilities of the template", CAPS),
  one("no capabilities", CAPS, (spec) => {
    spec.process.capabilities = { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] };
  }),
  one("ambient capabilities of a user", `id -u; ${CAPS}`, (spec) => {
    const set = ["CAP_NET_BIND_SERVICE"];
    spec.process.user = { uid: 1000, gid: 1000 };
    spec.process.capabilities = {
      bounding: set,
      effective: set,
      permitted: set,
      inheritable: set,
      ambient: set,
    };
  }),
  one("a user without capabilities", `id; ${CAPS}`, (spec) => {
    spec.process.user = { uid: 1000, gid: 1001, additionalGids: [5, 6] };
    spec.process.capabilities = {
      bounding: ["CAP_CHOWN"],
      effective: [],
      permitted: [],
      inheritable: [],
      ambient: [],
    };
  }),
  one("umask", "umask; touch /tmp/u; stat -c %a /tmp/u; busybox rm /tmp/u", (spec) => {
    spec.process.user.umask = 0o077;
  }),
  one("the usual umask", "umask"),
  one("limits", "ulimit -Hn; ulimit -Sn; ulimit -c; ulimit -s", (spec) => {
    spec.process.rlimits = [
      { type: "RLIMIT_NOFILE", hard: 512, soft: 256 },
      { type: "RLIMIT_CORE", hard: 0, soft: 0 },
      { type: "RLIMIT_STACK", hard: 8388608, soft: 4194304 },
    ];
  }),
  one("no new privileges", "grep NoNewPrivs /proc/self/status"),
  one("new privileges", "grep NoNewPrivs /proc/self/status", (spec) => {
    spec.process.noNewPrivileges = false;
  }),
  one("adjustment of the OOM score", "cat /proc/self/oom_score_adj", (spec) => {
    spec.process.oomScoreAdj = 123;
  }),
  one(
    "no descriptors but the three",
    "ls -l /proc/self/fd > /tmp/l; wc -l < /tmp/l; ls /proc/1/fd > /tmp/l; wc -l < /tmp/l",
  ),
  one("no filter without one", "grep Seccomp: /proc/self/status"),
  one(
    "a filter with an error of its own",
    "grep Seccomp: /proc/self/status; mkdir /tmp/d 2>&1; chmod 700 /tmp && echo allowed",
    (spec) => {
      spec.linux.seccomp = {
        defaultAction: "SCMP_ACT_ALLOW",
        architectures: ["SCMP_ARCH_X86_64"],
        syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28 }],
      };
    },
  ),
  one(
    "a filter that looks at arguments",
    "kill -0 1 && echo zero; kill -18 $$ 2>/dev/null || echo refused",
    (spec) => {
      spec.linux.seccomp = {
        defaultAction: "SCMP_ACT_ALLOW",
        architectures: ["SCMP_ARCH_X86_64"],
        syscalls: [
          {
            names: ["kill"],
            action: "SCMP_ACT_ERRNO",
            args: [{ index: 1, value: 18, op: "SCMP_CMP_EQ" }],
          },
        ],
      };
    },
  ),
  one("a filter that kills", "hostname other; echo still there", (spec) => {
    spec.linux.seccomp = {
      defaultAction: "SCMP_ACT_ALLOW",
      architectures: ["SCMP_ARCH_X86_64"],
      syscalls: [{ names: ["sethostname"], action: "SCMP_ACT_KILL" }],
    };
  }),
  one("a command by its name in PATH", "echo $0"),
  {
    name: "commands that cannot be run",
    run(rig) {
      for (const command of ["nosuch", "/nosuch", "/etc/plain", "/etc"]) {
        rig.configure((spec) => {
          spec.process.args = [command];
        });
        const ran = rig.oci(["run", "-b", rig.bundle, rig.id()]);
        rig.see(command, ran.code === 0);
      }
    },
  },
  {
    name: "a working directory that isn't there",
    run(rig) {
      rig.script("made or refused", "pwd", (spec) => {
        spec.process.cwd = "/made/for/it";
      });
      rig.command(["rm", "-rf", `${rig.rootfs}/made`]);
    },
  },
];
