/**
 * The arguments of `run` and `create` as the body of POST /containers/create, field for field what Docker's own
 * command line sends. Pure: the environment, the working directory and files come in as arguments.
 */
import { isAbsolute, resolve } from "node:path";
import type {
  ContainerConfig,
  ContainerCreateRequest,
  HostConfig,
  MountRequest,
} from "#api-types/container.ts";
import { type FlagValues, parseFlags, UsageError } from "#cli/flags.ts";
import { createFlags } from "#cli/run/create-flags.ts";
import { type DeviceRequest, isCdiDevice, parseDevice } from "#cli/run/device-flags.ts";
import { environment, keyValueLines, type ReadFile } from "#cli/run/environment.ts";
import { networkSettings } from "#cli/run/network-flag.ts";
import { parsePorts } from "#cli/run/port-flags.ts";
import type { Ulimit } from "#cli/run/resource-flags.ts";
import { securityOptions } from "#cli/run/security-flag.ts";
import { keyValues } from "#cli/run/simple-values.ts";

/** What the arguments do not say. */
export interface Surroundings {
  env: Record<string, string | undefined>;
  cwd: string;
  readFile: ReadFile;
  /** The daemon's socket on this host, for --use-api-socket. */
  apiSocket?: string;
}

export interface ParsedCreate {
  image: string;
  name: string;
  platform: string;
  request: ContainerCreateRequest;
  flags: FlagValues;
}

/** A mistake in what the flags mean together: told without the usage block. */
export class InvalidOptionsError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "InvalidOptionsError";
  }
}

/** Parses the arguments of `create`. Throws UsageError, InvalidOptionsError. */
export function parseCreate(argv: readonly string[], around: Surroundings): ParsedCreate {
  return createRequest(parseFlags(createFlags, argv, { interspersed: false }), around);
}

/** The request of flags that are parsed already. Throws UsageError without an image, InvalidOptionsError. */
export function createRequest(flags: FlagValues, around: Surroundings): ParsedCreate {
  const [image, ...command] = flags.positional;
  if (image === undefined) throw new UsageError("requires at least 1 argument", { arguments: true });
  try {
    const request = { ...config(flags, around), Image: image, Cmd: command.length > 0 ? command : null };
    const { mode, endpoints } = networkSettings(flags);
    return {
      image,
      name: flags.string("name"),
      platform: flags.string("platform"),
      request: {
        ...request,
        HostConfig: { ...hostConfig(flags, around), NetworkMode: mode },
        NetworkingConfig: { EndpointsConfig: endpoints },
      },
      flags,
    };
  } catch (error) {
    throw error instanceof Error ? new InvalidOptionsError(error.message) : error;
  }
}

function config(flags: FlagValues, around: Surroundings): ContainerConfig {
  const attach = flags.list("attach");
  const interactive = flags.bool("interactive");
  const attachStdin = attach.length === 0 ? interactive : attach.includes("stdin");
  const labels: Record<string, string> = {};
  for (const file of flags.list("label-file"))
    Object.assign(labels, keyValues(keyValueLines(file, around.readFile, "label")));
  Object.assign(labels, keyValues(flags.list("label")));
  const { exposed } = parsePorts(flags.list("publish"), flags.list("expose"));
  const volumes = splitVolumes(flags.list("volume"), around.cwd);
  const health = healthcheck(flags);
  return {
    Hostname: flags.string("hostname"),
    Domainname: flags.string("domainname"),
    User: flags.string("user"),
    AttachStdin: attachStdin,
    AttachStdout: attach.length === 0 || attach.includes("stdout"),
    AttachStderr: attach.length === 0 || attach.includes("stderr"),
    ...(Object.keys(exposed).length > 0 && { ExposedPorts: exposed }),
    Tty: flags.bool("tty"),
    OpenStdin: interactive,
    StdinOnce: interactive && attachStdin,
    Env: orNull(environment(flags.list("env-file"), flags.list("env"), around.env, around.readFile)),
    ...(health && { Healthcheck: health }),
    Volumes: Object.fromEntries(volumes.anonymous.map((path) => [path, {}])),
    WorkingDir: flags.string("workdir"),
    Entrypoint: flags.has("entrypoint") ? [flags.string("entrypoint")] : null,
    OnBuild: null,
    Labels: labels,
    ...(flags.has("stop-signal") && { StopSignal: flags.string("stop-signal") }),
    ...(flags.has("stop-timeout") && { StopTimeout: flags.value<number>("stop-timeout") ?? 0 }),
  };
}

function hostConfig(flags: FlagValues, around: Surroundings): HostConfig {
  const { bindings } = parsePorts(flags.list("publish"), []);
  const security = securityOptions(flags.list("security-opt"), around.readFile);
  const annotations = keyValues(flags.list("annotation"));
  const tmpfs = Object.fromEntries(flags.list("tmpfs").map((text) => cut(text, ":")));
  const sysctls = keyValues(flags.list("sysctl"));
  const mounts = allMounts(flags, around);
  return {
    Binds: orNull(splitVolumes(flags.list("volume"), around.cwd).binds),
    ContainerIDFile: flags.string("cidfile"),
    LogConfig: { Type: flags.string("log-driver"), Config: logOptions(flags) },
    PortBindings: bindings,
    RestartPolicy: createdRestartPolicy(flags),
    AutoRemove: flags.bool("rm"),
    VolumeDriver: flags.string("volume-driver"),
    VolumesFrom: orNull(flags.list("volumes-from")),
    ConsoleSize: [0, 0],
    ...(Object.keys(annotations).length > 0 && { Annotations: annotations }),
    CapAdd: capabilities(flags.list("cap-add")),
    CapDrop: capabilities(flags.list("cap-drop")),
    CgroupnsMode: mode(flags, "cgroupns", "CGROUP", ["host", "private"]),
    Dns: flags.list("dns"),
    DnsOptions: [...flags.list("dns-opt"), ...flags.list("dns-option")],
    DnsSearch: flags.list("dns-search"),
    ExtraHosts: orNull(flags.list("add-host")),
    GroupAdd: orNull(flags.list("group-add")),
    IpcMode: flags.string("ipc"),
    Cgroup: "",
    Links: orNull(flags.list("link")),
    OomScoreAdj: flags.value<number>("oom-score-adj") ?? 0,
    PidMode: mode(flags, "pid", "PID", ["host"], /^container:./),
    Privileged: flags.bool("privileged"),
    PublishAllPorts: flags.bool("publish-all"),
    ReadonlyRootfs: flags.bool("read-only"),
    SecurityOpt: orNull(security.options),
    ...(flags.has("storage-opt") && { StorageOpt: storageOptions(flags.list("storage-opt")) }),
    ...(flags.has("tmpfs") && { Tmpfs: tmpfs }),
    UTSMode: mode(flags, "uts", "UTS", ["host"]),
    UsernsMode: mode(flags, "userns", "USER", ["host"]),
    ShmSize: flags.value<number>("shm-size") ?? 0,
    ...(flags.has("sysctl") && { Sysctls: sysctls }),
    ...(flags.has("runtime") && { Runtime: flags.string("runtime") }),
    Isolation: flags.string("isolation"),
    ...resources(flags),
    ...(mounts.length > 0 && { Mounts: mounts }),
    MaskedPaths: security.unconfinedPaths ? [] : null,
    ReadonlyPaths: security.unconfinedPaths ? [] : null,
    ...(flags.has("init") && { Init: flags.bool("init") }),
  };
}

function resources(flags: FlagValues): HostConfig {
  const number = (name: string) => flags.value<number>(name) ?? 0;
  const swappiness = flags.value<number>("memory-swappiness") ?? -1;
  if (swappiness !== -1 && (swappiness < 0 || swappiness > 100))
    throw new Error(`invalid value: ${swappiness}. Valid memory swappiness range is 0-100`);
  const devices = flags.list("device");
  const requests: DeviceRequest[] = flags.list<DeviceRequest>("gpus");
  const cdi = devices.filter(isCdiDevice);
  if (cdi.length > 0)
    requests.push({ Driver: "cdi", Count: 0, DeviceIDs: cdi, Capabilities: null, Options: null });
  return {
    CpuShares: number("cpu-shares"),
    Memory: number("memory"),
    NanoCpus: number("cpus"),
    CgroupParent: flags.string("cgroup-parent"),
    BlkioWeight: number("blkio-weight"),
    BlkioWeightDevice: flags.list("blkio-weight-device"),
    BlkioDeviceReadBps: flags.list("device-read-bps"),
    BlkioDeviceWriteBps: flags.list("device-write-bps"),
    BlkioDeviceReadIOps: flags.list("device-read-iops"),
    BlkioDeviceWriteIOps: flags.list("device-write-iops"),
    CpuPeriod: number("cpu-period"),
    CpuQuota: number("cpu-quota"),
    CpuRealtimePeriod: number("cpu-rt-period"),
    CpuRealtimeRuntime: number("cpu-rt-runtime"),
    CpusetCpus: flags.string("cpuset-cpus"),
    CpusetMems: flags.string("cpuset-mems"),
    Devices: devices.filter((device) => !isCdiDevice(device)).map(parseDevice),
    DeviceCgroupRules: orNull(flags.list("device-cgroup-rule")),
    DeviceRequests: orNull(requests),
    MemoryReservation: number("memory-reservation"),
    MemorySwap: number("memory-swap"),
    MemorySwappiness: swappiness,
    OomKillDisable: flags.bool("oom-kill-disable"),
    PidsLimit: number("pids-limit"),
    Ulimits: sortedUlimits(flags.list<Ulimit>("ulimit")),
    CpuCount: number("cpu-count"),
    CpuPercent: number("cpu-percent"),
    IOMaximumIOps: number("io-maxiops"),
    IOMaximumBandwidth: number("io-maxbandwidth"),
  };
}

/** `-v source:target` is a bind or a named volume, `-v target` an anonymous volume. A "." begins a path relative to here. */
function splitVolumes(volumes: readonly string[], cwd: string): { binds: string[]; anonymous: string[] } {
  const binds = new Set<string>();
  const anonymous = new Set<string>();
  for (const volume of volumes) {
    if (volume === "") throw new Error("invalid empty volume spec");
    const [source, target] = cut(volume, ":");
    if (!volume.includes(":") || source === "") anonymous.add(volume);
    else if (source.startsWith(".")) binds.add(`${resolve(cwd, source)}:${target}`);
    else binds.add(volume);
  }
  return { binds: [...binds], anonymous: [...anonymous] };
}

function allMounts(flags: FlagValues, around: Surroundings): MountRequest[] {
  const mounts = flags.list<MountRequest>("mount").map((mount) => {
    const relative = mount.Source?.startsWith(".") && !isAbsolute(mount.Source);
    return relative ? { ...mount, Source: resolve(around.cwd, mount.Source ?? "") } : mount;
  });
  if (flags.bool("use-api-socket")) {
    if (around.apiSocket === undefined)
      throw new Error("--use-api-socket needs a daemon on a unix socket of this host");
    mounts.push({ Type: "bind", Source: around.apiSocket, Target: "/var/run/docker.sock", BindOptions: {} });
  }
  return mounts;
}

function healthcheck(flags: FlagValues): NonNullable<ContainerConfig["Healthcheck"]> | undefined {
  const numbers = {
    Interval: "health-interval",
    Timeout: "health-timeout",
    StartPeriod: "health-start-period",
    StartInterval: "health-start-interval",
    Retries: "health-retries",
  };
  const command = flags.string("health-cmd");
  const set = Object.entries(numbers).filter(([, name]) => (flags.value<number>(name) ?? 0) !== 0);
  if (flags.bool("no-healthcheck")) {
    if (command !== "" || set.length > 0)
      throw new Error("--no-healthcheck conflicts with --health-* options");
    return { Test: ["NONE"] };
  }
  if (command === "" && set.length === 0) return undefined;
  for (const [, name] of set)
    if ((flags.value<number>(name) ?? 0) < 0) throw new Error(`--${name} cannot be negative`);
  return {
    ...(command !== "" && { Test: ["CMD-SHELL", command] }),
    ...Object.fromEntries(set.map(([field, name]) => [field, flags.value<number>(name)])),
  };
}

/** "on-failure:3" */
export function restartPolicy(text: string): { Name: string; MaximumRetryCount: number } {
  const [Name, times] = cut(text, ":");
  if (Name === "" && times !== "")
    throw new Error("invalid restart policy format: no policy provided before colon");
  if (times !== "" && !/^[+-]?\d+$/.test(times))
    throw new Error("invalid restart policy format: maximum retry count must be an integer");
  return { Name, MaximumRetryCount: Number(times) };
}

function createdRestartPolicy(flags: FlagValues): { Name: string; MaximumRetryCount: number } {
  const policy = restartPolicy(flags.has("restart") ? flags.string("restart") : "no");
  if (flags.bool("rm") && policy.Name !== "" && policy.Name !== "no")
    throw new Error("conflicting options: cannot specify both --restart and --rm");
  return policy;
}

function logOptions(flags: FlagValues): Record<string, string> {
  const options = keyValues(flags.list("log-opt"));
  if (flags.string("log-driver") === "none" && Object.keys(options).length > 0)
    throw new Error("invalid logging opts for driver none");
  return options;
}

function storageOptions(options: readonly string[]): Record<string, string> {
  if (options.some((option) => !option.includes("="))) throw new Error("invalid storage option");
  return keyValues(options);
}

/** Docker's canonical names, sorted: "net_admin" is CAP_NET_ADMIN. */
function capabilities(names: readonly string[]): string[] | null {
  const canonical = names.map((name) => {
    const upper = name.trim().toUpperCase();
    return upper === "ALL" || upper === "RESET" || upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
  });
  return orNull([...new Set(canonical)].sort());
}

function mode(flags: FlagValues, name: string, kind: string, words: string[], pattern?: RegExp): string {
  const value = flags.string(name);
  if (value === "" || words.includes(value) || pattern?.test(value)) return value;
  throw new Error(`--${name}: invalid ${kind} mode`);
}

function sortedUlimits(ulimits: readonly Ulimit[]): Ulimit[] {
  const byName = new Map(ulimits.map((ulimit) => [ulimit.Name, ulimit]));
  return [...byName.values()].sort((a, b) => (a.Name < b.Name ? -1 : 1));
}

/** Splits at the first separator; the second part is "" without one. */
function cut(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}

function orNull<T>(list: T[]): T[] | null {
  return list.length > 0 ? list : null;
}
