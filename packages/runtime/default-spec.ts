/**
 * The OCI configuration of a container nobody asked anything special of: Docker's default mounts, masked and read-only
 * paths, devices, capabilities and namespaces, and what `--privileged` makes of them. Pure.
 */
import { CAPABILITIES, DEFAULT_CAPABILITIES } from "#runtime/capabilities.ts";
import { defaultSeccomp } from "#runtime/seccomp/profile.ts";
import type {
  CapabilitySet,
  NamespaceType,
  Spec,
  SpecDevice,
  SpecDeviceRule,
  SpecMount,
} from "#runtime/spec-types.ts";

/** Size of /dev/shm unless told otherwise: 64 MiB. */
export const DEFAULT_SHM_SIZE = 64 * 1024 * 1024;

export const DEFAULT_ENVIRONMENT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Hidden from containers: they tell about the host or change it. */
export const DEFAULT_MASKED_PATHS: readonly string[] = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];

/** Left to read: files that other files of the host are changed by. */
export const DEFAULT_READONLY_PATHS: readonly string[] = [
  "/proc/bus",
  "/proc/fs",
  "/proc/irq",
  "/proc/sys",
  "/proc/sysrq-trigger",
];

/** Made in every container's /dev. */
export const DEFAULT_DEVICES: readonly SpecDevice[] = [
  device("/dev/null", 1, 3),
  device("/dev/zero", 1, 5),
  device("/dev/full", 1, 7),
  device("/dev/random", 1, 8),
  device("/dev/urandom", 1, 9),
  device("/dev/tty", 5, 0),
];

function device(path: string, major: number, minor: number): SpecDevice {
  return { type: "c", path, major, minor, fileMode: 0o666, uid: 0, gid: 0 };
}

const allow = (type: string, major: number, minor: number, access = "rwm"): SpecDeviceRule => ({
  allow: true,
  type,
  major,
  minor,
  access,
});

/**
 * Device access: nothing but the devices above, consoles and pseudo-terminals. Nodes of any device may be made, since
 * making is not opening.
 */
export const DEFAULT_DEVICE_RULES: readonly SpecDeviceRule[] = [
  { allow: false, access: "rwm" },
  allow("c", -1, -1, "m"),
  allow("b", -1, -1, "m"),
  ...DEFAULT_DEVICES.map(({ major = -1, minor = -1 }) => allow("c", major, minor)),
  allow("c", 5, 1),
  allow("c", 5, 2),
  allow("c", 136, -1),
];

export const PRIVILEGED_DEVICE_RULES: readonly SpecDeviceRule[] = [{ allow: true, access: "rwm" }];

/** Settings of the container's own network namespace that let unprivileged users in it use low ports and ping. */
export const NETWORK_SYSCTLS: Readonly<Record<string, string>> = {
  "net.ipv4.ip_unprivileged_port_start": "0",
  "net.ipv4.ping_group_range": "0 2147483647",
};

export interface DefaultSpecOptions {
  architecture: "x64" | "arm64";
  /** uname -r; the default seccomp profile depends on it. */
  kernelRelease: string;
  /** Default: Docker's fourteen. */
  capabilities?: readonly string[];
  privileged?: boolean;
  /** Bytes; default 64 MiB. 0 leaves /dev/shm out (it then comes with the mounts). */
  shmSize?: number;
  /** Namespaces of the container's own; default mount, pid, network, ipc, uts. */
  namespaces?: readonly NamespaceType[];
}

/** A complete configuration that runs `sh` as root; callers put their own process, root and further mounts into it. */
export function defaultSpec(
  options: DefaultSpecOptions,
): Spec & Required<Pick<Spec, "process" | "linux" | "mounts">> {
  const { privileged = false } = options;
  const names = options.capabilities ?? (privileged ? CAPABILITIES : DEFAULT_CAPABILITIES);
  const namespaces = options.namespaces ?? (["mount", "pid", "network", "ipc", "uts"] as const);
  const ownNetwork = namespaces.includes("network");
  return {
    ociVersion: "1.2.0",
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: ["sh"],
      env: [DEFAULT_ENVIRONMENT_PATH],
      cwd: "/",
      capabilities: capabilitySets(names),
      noNewPrivileges: false,
    },
    root: { path: "rootfs", readonly: false },
    mounts: defaultMounts({ privileged, ...(options.shmSize !== undefined && { shmSize: options.shmSize }) }),
    linux: {
      namespaces: namespaces.map((type) => ({ type })),
      devices: [...DEFAULT_DEVICES],
      resources: { devices: [...(privileged ? PRIVILEGED_DEVICE_RULES : DEFAULT_DEVICE_RULES)] },
      ...(ownNetwork && { sysctl: { ...NETWORK_SYSCTLS } }),
      ...(privileged
        ? {}
        : {
            maskedPaths: [...DEFAULT_MASKED_PATHS],
            readonlyPaths: [...DEFAULT_READONLY_PATHS],
            seccomp: defaultSeccomp({
              capabilities: names,
              architecture: options.architecture,
              kernelRelease: options.kernelRelease,
            }),
          }),
    },
  };
}

/** The sets as Docker has them: inheritable and ambient stay empty, so that a change of user loses what it should. */
export function capabilitySets(names: readonly string[]): Partial<Record<CapabilitySet, string[]>> {
  return { bounding: [...names], effective: [...names], permitted: [...names] };
}

/** The file systems every container gets. Privileged ones may write to /sys and the control groups. */
export function defaultMounts(options: { privileged?: boolean; shmSize?: number } = {}): SpecMount[] {
  const { privileged = false, shmSize = DEFAULT_SHM_SIZE } = options;
  const access = privileged ? "rw" : "ro";
  const plain = ["nosuid", "noexec", "nodev"];
  const mounts: SpecMount[] = [
    { destination: "/proc", type: "proc", source: "proc", options: plain },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: [...plain, access] },
    { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: [access, ...plain] },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: plain },
  ];
  if (shmSize > 0) mounts.push(shmMount(shmSize));
  return mounts;
}

/** A /dev/shm of its own. Size in bytes. */
export function shmMount(size: number): SpecMount {
  return {
    destination: "/dev/shm",
    type: "tmpfs",
    source: "shm",
    options: ["nosuid", "noexec", "nodev", "mode=1777", `size=${size}`],
  };
}
