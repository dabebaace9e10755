/**
 * What the engine hands to the compiler, beside the OCI spec, and what it gets back.
 *
 * `compileContainer(launch)` (compile-container.ts) and `compileExec(launch)` (compile-exec.ts) are pure: everything
 * they need to know of the host is in these values.
 */
import type { Program } from "#program/types.ts";
import type { CgroupOwner } from "#runtime/cgroups/container-cgroup.ts";
import type { RootlessCaller } from "#runtime/compile/user-namespace.ts";
import type { Spec, SpecProcess } from "#runtime/spec-types.ts";

/** How the root file system comes to be. */
export type RootfsPlan =
  | { kind: "directory"; path: string }
  | {
      kind: "overlay";
      /** Directory the relative lower names start from (the driver's root); the launcher changes to it before mount(2). */
      base: string;
      /** Uppermost first, relative to base ("l/ABC…"). */
      lower: string[];
      upper: string;
      work: string;
      /** Mount point: `<id>/merged`, relative to base. */
      merged: string;
      /** Extra mount options, for example "index=off". */
      options: string[];
    };

/** Which cgroup hierarchies the host has, from `#kernel/cgroup-layout.ts`. */
export interface CgroupLayout {
  version: 1 | 2;
  /** Version 1: controller name → mount point (co-mounted controllers share one). Includes named ones ("name=systemd"). */
  v1: Record<string, string>;
  /** Version 2 mount point ("/sys/fs/cgroup", or the unified part of a hybrid layout, which has no controllers). */
  v2?: string;
  /** Controllers available in the v2 root. */
  v2Controllers: string[];
}

/** One netlink request, complete but for the pid of the container. */
export interface NetlinkRequest {
  /** What it does: "create veth pair vethab12 - eth0". */
  why: string;
  bytes: Uint8Array;
  /** Byte offsets of u32 fields that get the container's host pid before sending. */
  pidAt: number[];
  /** An errno that is no failure (EEXIST for instance). */
  ignore?: number;
}

/** What joins the container's network namespace to its networks. */
export interface SandboxProgram {
  /** Sent by the shim in the host's namespace, once the namespace exists. */
  host: NetlinkRequest[];
  /** Sent by the container's first process inside its namespace, after the host's. */
  container: NetlinkRequest[];
  /** Files under /proc/sys/net written inside the namespace before the rest ("net/ipv6/conf/all/disable_ipv6" → "1"). */
  sysctls: Record<string, string>;
  /** A name server for the container. */
  resolver?: ResolverProgram;
}

/** Sockets of a name server inside the namespace, there before the container's program and as long as its shim. */
export interface ResolverProgram {
  /** `struct sockaddr_in` of both, the datagram and the listening stream socket. */
  address: Uint8Array;
  /** Bytes of questions that may wait. */
  receiveBuffer: number;
  /** Connections that may wait. */
  backlog: number;
  /** The numbers under which the shim keeps them, for daemons to find. */
  keepAs: { udp: number; tcp: number };
  /** An nf_tables batch that leads questions to that address; without, it is where they are asked. */
  redirection?: { why: string; bytes: Uint8Array };
}

export interface LogPlan {
  /** The shim writes entries itself, in one form or the other. none: output goes to attach connections only. */
  format: "json-file" | "local" | "none";
  path: string;
  /** Put into every json-file entry, already JSON: `,"attrs":{…}` or "". */
  attrs: string;
  /** A new file at so many bytes, and how many files there may be, 0 for any number. */
  rotation?: { limit: number; files: number };
}

export interface StdioPlan {
  terminal: boolean;
  /** The container gets a stdin that clients can write to (OpenStdin); otherwise /dev/null. */
  openStdin: boolean;
  stdinOnce: boolean;
  /** Attach connections to wait for before output is read. */
  expectedAttaches: number;
  /** Initial terminal size. */
  rows?: number;
  columns?: number;
}

/** What makes a container, whoever starts it. */
export interface ContainerParts {
  id: string;
  spec: Spec;
  rootfs: RootfsPlan;
  cgroups: CgroupLayout;
  /** Where its groups are, if not at `linux.cgroupsPath` or the id. */
  cgroupOwner?: CgroupOwner;
  sandbox: SandboxProgram;
  /** `<exec-root>/containers/<id>`: made by the engine (mode 0700); holds shim.sock and exit. */
  execDirectory: string;
  /** Host path of the launcher binary to bind at /sbin/docker-init and run as PID 1, with --init. */
  initPath?: string;
  /** Directory of the bundle, for who is told of the container; without one the exec directory. */
  bundle?: string;
  /** Kernel facts the compiler depends on. */
  host: HostFacts;
  /** The root is moved to "/" instead of changed by pivot_root. */
  noPivot?: boolean;
  /** The session keyring stays the caller's. */
  noNewKeyring?: boolean;
  /** Made without root's rights, by this user of the host. */
  rootless?: RootlessCaller;
}

/** A container of the daemon's, with a shim that keeps its streams and log. */
export interface ContainerLaunch extends ContainerParts {
  stdio: StdioPlan;
  log: LogPlan;
}

/** With `process.terminal`: who gets the master, or that the launcher itself is to hold it. */
export type BundleTerminal =
  | { kind: "socket"; path: string }
  | { kind: "relay"; rows?: number; columns?: number };

/** A container of the runtime's command line: its streams are the caller's own. */
export interface BundleLaunch extends ContainerParts {
  terminal?: BundleTerminal;
  /** Which of descriptors 0, 1 and 2 change hands to the container's user. */
  giveStdio: readonly number[];
  /** How many descriptors from 3 on the process gets; they are open where the program starts. */
  preserveFds: number;
  /** Which of them are the host's null device. */
  nullStdio: readonly number[];
  /** Where the command line has something to do: once the namespaces are there, once all is mounted. */
  ask: { forked: boolean; mounted: boolean };
  /** Stay and tell the end. */
  supervise: boolean;
}

export interface HostFacts {
  architecture: "x64" | "arm64";
  /** CAP_LAST_CAP from /proc/sys/kernel/cap_last_cap. */
  lastCapability: number;
  /** Capabilities the daemon itself can give (a mask by number); where it was started with fewer than all. */
  availableCapabilities?: bigint;
  /** We are in a user namespace ourselves: root, but not the host's. */
  inUserNamespace?: boolean;
  seccompActions: string[];
  apparmor: boolean;
  selinux?: boolean;
  /** Where the resctrl file system is mounted. */
  resctrl?: string;
  /** Existing paths among those that are masked only where they exist (thermal_throttle …). */
  kernelRelease: string;
}

/** What a further process of a container needs, whoever starts it. */
export interface ExecParts {
  containerId: string;
  /** Host pid of the container's first process; its namespaces are joined through a pidfd with setns. */
  pid: number;
  spec: Spec;
  process: SpecProcess;
  cgroups: CgroupLayout;
  /** The groups to join, if not at `linux.cgroupsPath` or the id. */
  cgroupOwner?: CgroupOwner;
  execDirectory: string;
  /** Made without root's rights, by this user of the host. */
  rootless?: RootlessCaller;
  /** Directory of the container's bundle, if it has one. */
  bundle?: string;
  host: HostFacts;
}

/** An exec of the daemon's. */
export interface ExecLaunch extends ExecParts {
  /** The exec's id. */
  id: string;
  privileged: boolean;
  stdio: StdioPlan;
}

/** An exec of the runtime's command line. */
export interface BundleExecLaunch extends ExecParts {
  terminal?: BundleTerminal;
  giveStdio: readonly number[];
  /** How many descriptors from 3 on the process gets; they are open where the program starts. */
  preserveFds: number;
  supervise: boolean;
}

/** A compiled launch. `execveInstructions` are the indexes of the PATH attempts, for 126 / 127. */
export interface CompiledLaunch {
  program: Program;
  execveInstructions: number[];
  /** The socket and exit record the shim will make. */
  controlSocket: string;
  exitFile: string;
}
