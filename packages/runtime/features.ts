/** `features`: what this runtime can do, in the form of the specification's features.md and features-linux.md. */
import { readHostFacts } from "#kernel/host-facts.ts";
import { CAPABILITIES } from "#runtime/capabilities.ts";
import { MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES } from "#runtime/compile/memory-policy.ts";
import { MOUNT_OPTION_WORDS } from "#runtime/mount-options.ts";
import { SECCOMP_ARCHITECTURES, SECCOMP_FLAGS } from "#runtime/seccomp/compile-filter.ts";
import { SPEC_VERSION } from "#runtime/spec-version.ts";

const HOOKS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
const NAMESPACES = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];
const SECCOMP_ACTIONS = [
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_KILL",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_LOG",
  "SCMP_ACT_NOTIFY",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_TRAP",
];
const SECCOMP_OPERATORS = ["EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE"].map((name) => `SCMP_CMP_${name}`);

export function features() {
  const { lastCapability } = readHostFacts();
  return {
    ociVersionMin: "1.0.0",
    ociVersionMax: SPEC_VERSION,
    hooks: HOOKS,
    mountOptions: [...MOUNT_OPTION_WORDS].sort(),
    linux: {
      namespaces: NAMESPACES,
      capabilities: CAPABILITIES.slice(0, lastCapability + 1),
      cgroup: { v1: true, v2: true, systemd: true, systemdUser: true, rdma: true },
      seccomp: {
        enabled: true,
        actions: SECCOMP_ACTIONS,
        operators: SECCOMP_OPERATORS,
        archs: SECCOMP_ARCHITECTURES,
        knownFlags: SECCOMP_FLAGS,
        supportedFlags: SECCOMP_FLAGS,
      },
      apparmor: { enabled: true },
      selinux: { enabled: true },
      intelRdt: { enabled: false },
      memoryPolicy: { modes: MEMORY_POLICY_MODES, flags: MEMORY_POLICY_FLAGS },
      mountExtensions: { idmap: { enabled: true } },
      netDevices: { enabled: true },
    },
    annotations: {},
  };
}
