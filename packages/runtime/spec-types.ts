/**
 * The OCI runtime configuration (config.json) as TypeScript types: the parts of runtime-spec 1.2 that Berth reads.
 * Field names are the specification's own. https://github.com/opencontainers/runtime-spec/blob/main/config.md
 */

export interface Spec {
  ociVersion: string;
  process?: SpecProcess;
  root?: { path: string; readonly?: boolean };
  hostname?: string;
  domainname?: string;
  mounts?: SpecMount[];
  hooks?: Partial<Record<HookName, SpecHook[]>>;
  annotations?: Record<string, string>;
  linux?: SpecLinux;
}

export type HookName =
  | "prestart"
  | "createRuntime"
  | "createContainer"
  | "startContainer"
  | "poststart"
  | "poststop";

export interface SpecHook {
  path: string;
  args?: string[];
  env?: string[];
  timeout?: number;
}

export interface SpecProcess {
  terminal?: boolean;
  consoleSize?: { height: number; width: number };
  /** `username` is for other systems than Linux: it is passed over. */
  user: { uid: number; gid: number; umask?: number; additionalGids?: number[]; username?: string };
  args?: string[];
  env?: string[];
  cwd: string;
  capabilities?: Partial<Record<CapabilitySet, string[]>>;
  rlimits?: { type: string; soft: number; hard: number }[];
  noNewPrivileges?: boolean;
  oomScoreAdj?: number;
  scheduler?: SpecScheduler;
  ioPriority?: { class: string; priority?: number };
  /** Lists of CPUs ("0-3,7") for processes that exec starts: before they are in their group, and from then on. */
  execCPUAffinity?: { initial?: string; final?: string };
  apparmorProfile?: string;
  selinuxLabel?: string;
}

export interface SpecScheduler {
  policy: string;
  nice?: number;
  priority?: number;
  flags?: string[];
  /** Nanoseconds, these three, for SCHED_DEADLINE. */
  runtime?: number;
  deadline?: number;
  period?: number;
}

export type CapabilitySet = "bounding" | "effective" | "inheritable" | "permitted" | "ambient";

export interface SpecMount {
  destination: string;
  type?: string;
  source?: string;
  options?: string[];
  /** Berth's own: the part of the source to mount, resolved inside it whatever links lie there. */
  subpath?: string;
  /** Berth's own: the mount namespace, by its path in /proc, that the source is a path in. */
  mountNamespace?: string;
  /** Owners of the source → those the container sees; for bind mounts. */
  uidMappings?: SpecIdMapping[];
  gidMappings?: SpecIdMapping[];
}

export type NamespaceType = "pid" | "network" | "mount" | "ipc" | "uts" | "user" | "cgroup" | "time";

export interface SpecIdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

export interface SpecDevice {
  type: "c" | "b" | "u" | "p";
  path: string;
  major?: number;
  minor?: number;
  fileMode?: number;
  uid?: number;
  gid?: number;
}

export interface SpecDeviceRule {
  allow: boolean;
  type?: string;
  major?: number;
  minor?: number;
  access?: string;
}

export interface SpecThrottleDevice {
  major: number;
  minor: number;
  rate: number;
}

export interface SpecResources {
  devices?: SpecDeviceRule[];
  memory?: {
    limit?: number;
    reservation?: number;
    swap?: number;
    kernel?: number;
    kernelTCP?: number;
    swappiness?: number;
    disableOOMKiller?: boolean;
    useHierarchy?: boolean;
    checkBeforeUpdate?: boolean;
  };
  cpu?: {
    shares?: number;
    quota?: number;
    period?: number;
    burst?: number;
    realtimeRuntime?: number;
    realtimePeriod?: number;
    cpus?: string;
    mems?: string;
    idle?: number;
  };
  pids?: { limit: number };
  blockIO?: {
    weight?: number;
    leafWeight?: number;
    weightDevice?: { major: number; minor: number; weight?: number; leafWeight?: number }[];
    throttleReadBpsDevice?: SpecThrottleDevice[];
    throttleWriteBpsDevice?: SpecThrottleDevice[];
    throttleReadIOPSDevice?: SpecThrottleDevice[];
    throttleWriteIOPSDevice?: SpecThrottleDevice[];
  };
  hugepageLimits?: { pageSize: string; limit: number }[];
  network?: { classID?: number; priorities?: { name: string; priority: number }[] };
  rdma?: Record<string, { hcaHandles?: number; hcaObjects?: number }>;
  unified?: Record<string, string>;
}

export type SeccompAction =
  | "SCMP_ACT_KILL"
  | "SCMP_ACT_KILL_PROCESS"
  | "SCMP_ACT_KILL_THREAD"
  | "SCMP_ACT_TRAP"
  | "SCMP_ACT_ERRNO"
  | "SCMP_ACT_TRACE"
  | "SCMP_ACT_ALLOW"
  | "SCMP_ACT_LOG"
  | "SCMP_ACT_NOTIFY";

export interface SpecSeccomp {
  defaultAction: SeccompAction;
  defaultErrnoRet?: number;
  architectures?: string[];
  flags?: string[];
  listenerPath?: string;
  listenerMetadata?: string;
  syscalls?: {
    names: string[];
    action: SeccompAction;
    errnoRet?: number;
    args?: { index: number; value: number | bigint; valueTwo?: number | bigint; op: string }[];
  }[];
}

export interface SpecIntelRdt {
  closID?: string;
  schemata?: string[];
  l3CacheSchema?: string;
  memBwSchema?: string;
  enableMonitoring?: boolean;
  /** Of older versions of the specification: monitoring groups by what they count. */
  enableCMT?: boolean;
  enableMBM?: boolean;
}

export interface SpecLinux {
  uidMappings?: SpecIdMapping[];
  gidMappings?: SpecIdMapping[];
  namespaces?: { type: NamespaceType; path?: string }[];
  devices?: SpecDevice[];
  cgroupsPath?: string;
  resources?: SpecResources;
  rootfsPropagation?: string;
  seccomp?: SpecSeccomp;
  sysctl?: Record<string, string>;
  maskedPaths?: string[];
  readonlyPaths?: string[];
  mountLabel?: string;
  timeOffsets?: Record<string, { secs?: number; nanosecs?: number }>;
  /** Name of a device on the host → what becomes of it in the container's network namespace. */
  netDevices?: Record<string, { name?: string }>;
  personality?: { domain: string; flags?: string[] };
  intelRdt?: SpecIntelRdt;
  memoryPolicy?: { mode: string; nodes: string; flags?: string[] };
}
