/** A container as an OCI runtime configuration. Pure, but for the numbers of the host's device files. */
import { dirname } from "node:path";
import type { DeviceMapping, HostConfig } from "#api-types/container.ts";
import type { DaemonConfig } from "#config/config-types.ts";
import type { ContainerMount, ContainerRecord } from "#engine/containers/container-record.ts";
import { containerResources, parseDeviceRule } from "#engine/launch/container-resources.ts";
import type { EtcFiles } from "#engine/launch/etc-files.ts";
import { readDevice, readDeviceNumbers } from "#engine/launch/host-devices.ts";
import { seccompFor } from "#engine/launch/seccomp-choice.ts";
import { parseSecurityOptions, type SecurityOptions } from "#engine/launch/security-options.ts";
import type { SharedKind } from "#engine/launch/shared-namespaces.ts";
import { mappingsOf } from "#engine/launch/user-namespace.ts";
import { resolveCapabilities } from "#runtime/capabilities.ts";
import { containerCgroupPath } from "#runtime/cgroups/container-cgroup.ts";
import { DEFAULT_ENVIRONMENT_PATH, DEFAULT_SHM_SIZE, defaultSpec } from "#runtime/default-spec.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import { rlimitsFromUlimits } from "#runtime/rlimits.ts";
import type { NamespaceType, Spec, SpecMount, SpecProcess, SpecSeccomp } from "#runtime/spec-types.ts";
import type { ResolvedUser } from "#runtime/user.ts";
import type { IdMap } from "#storage/unpack/id-map.ts";

export interface SpecInput {
  record: ContainerRecord;
  user: ResolvedUser;
  /** Host path by destination, for binds and volumes. */
  sources: ReadonlyMap<string, string>;
  files: EtcFiles;
  host: HostFacts;
  defaults: Pick<DaemonConfig, "noNewPrivileges" | "defaultUlimits" | "seccompProfile">;
  /** Users of containers as users of the host. */
  idMap?: IdMap | undefined;
  /** Variables that tell of linked containers; the container's own come after them. */
  linked?: readonly string[];
  /** Host pid of a running container, whose namespaces are to be shared. */
  joined: (nameOrId: string, kind: SharedKind) => number;
}

/** Sysctl that names the groups whose processes may ping. */
const PING_GROUPS = "net.ipv4.ping_group_range";

interface Namespace {
  type: NamespaceType;
  path?: string;
}

export function containerSpec(input: SpecInput): Spec {
  const { record, host } = input;
  const { config, hostConfig } = record;
  const privileged = hostConfig.Privileged ?? false;
  const security = parseSecurityOptions(hostConfig.SecurityOpt ?? []);
  const capabilities = resolveCapabilities({
    add: hostConfig.CapAdd ?? [],
    drop: hostConfig.CapDrop ?? [],
    privileged,
  });
  const joins = namespaces(input);
  const spec = defaultSpec({
    architecture: host.architecture,
    kernelRelease: host.kernelRelease,
    capabilities,
    privileged,
    shmSize: hostConfig.ShmSize ?? DEFAULT_SHM_SIZE,
    // Sysctls of a network namespace that is another's are not this container's to set.
    namespaces: joins.filter(({ path }) => path === undefined).map(({ type }) => type),
  });
  const linux = { ...spec.linux };
  linux.namespaces = joins;
  const mappings = mappingsOf(input.idMap, hostConfig);
  if (mappings !== undefined) {
    Object.assign(linux, mappings);
    if (linux.sysctl?.[PING_GROUPS]) {
      // Only groups that there are.
      linux.sysctl = { ...linux.sysctl, [PING_GROUPS]: `0 ${(mappings.gidMappings[0]?.size ?? 1) - 1}` };
    }
  }
  linux.cgroupsPath = `/${containerCgroupPath(record.id, hostConfig.CgroupParent)}`;
  linux.resources = {
    ...containerResources(hostConfig, readDeviceNumbers),
    devices: [
      ...(linux.resources?.devices ?? []),
      ...(hostConfig.Devices ?? []).map(deviceRule),
      ...(hostConfig.DeviceCgroupRules ?? []).map((rule) => ({ allow: true, ...parseDeviceRule(rule) })),
    ],
  };
  const bound = boundDevices(input);
  const made = (hostConfig.Devices ?? []).filter((mapping) => !bound.includes(mapping));
  linux.devices = [...(linux.devices ?? []), ...made.map(device)];
  if (hostConfig.Sysctls) linux.sysctl = { ...linux.sysctl, ...hostConfig.Sysctls };
  if (security.unconfinedPaths || hostConfig.MaskedPaths) linux.maskedPaths = hostConfig.MaskedPaths ?? [];
  if (security.unconfinedPaths || hostConfig.ReadonlyPaths)
    linux.readonlyPaths = hostConfig.ReadonlyPaths ?? [];
  const seccomp = seccompOf(input, security, capabilities, privileged);
  if (seccomp === undefined) delete linux.seccomp;
  else linux.seccomp = seccomp;
  const result: Spec = {
    ...spec,
    process: processOf(input, capabilities, security),
    root: { path: "rootfs", readonly: hostConfig.ReadonlyRootfs ?? false },
    mounts: mounts(input, (spec.mounts ?? []).map(cgroupAccess(security))),
    annotations: { ...hostConfig.Annotations },
    linux,
  };
  if (hostConfig.UTSMode !== "host") {
    result.hostname = config.Hostname ?? "";
    if (config.Domainname) result.domainname = config.Domainname;
  }
  return result;
}

function processOf(input: SpecInput, capabilities: string[], security: SecurityOptions): SpecProcess {
  const { record, user, defaults } = input;
  const { config, hostConfig } = record;
  // Who is not root starts without capabilities in force; the bounding set is what a set-uid program may gain.
  const inForce = user.uid === 0 ? capabilities : [];
  const process: SpecProcess = {
    terminal: config.Tty ?? false,
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args: [record.path, ...record.args],
    env: environment(
      [...(input.linked ?? []), ...(config.Env ?? [])],
      config.Tty ?? false,
      config.Hostname ?? "",
      user,
    ),
    cwd: config.WorkingDir || "/",
    capabilities: { bounding: capabilities, effective: inForce, permitted: inForce },
    noNewPrivileges: security.noNewPrivileges || defaults.noNewPrivileges,
    ...kernelLimits(hostConfig, defaults.defaultUlimits),
  };
  if (security.apparmor !== undefined && input.host.apparmor) process.apparmorProfile = security.apparmor;
  return process;
}

/** What every process of a container is given, be it the first or one of an exec. Throws "invalid" for a bad ulimit. */
export function kernelLimits(
  hostConfig: HostConfig,
  defaultUlimits: DaemonConfig["defaultUlimits"],
): Pick<SpecProcess, "rlimits" | "oomScoreAdj"> {
  const own = hostConfig.Ulimits ?? [];
  const rest = defaultUlimits.filter(({ Name }) => !own.some((one) => one.Name === Name));
  return { rlimits: rlimitsFromUlimits([...rest, ...own]), oomScoreAdj: hostConfig.OomScoreAdj ?? 0 };
}

/** What Docker gives every process: PATH, HOSTNAME, TERM with a terminal, HOME; the configuration's own win. */
export function environment(
  configured: readonly string[],
  tty: boolean,
  hostname: string,
  user: ResolvedUser,
): string[] {
  const defaults = [DEFAULT_ENVIRONMENT_PATH, `HOSTNAME=${hostname}`, ...(tty ? ["TERM=xterm"] : [])];
  const byName = new Map<string, string>();
  for (const entry of [...defaults, ...configured]) {
    const at = entry.indexOf("=");
    // A name alone takes the variable away.
    if (at < 0) byName.delete(entry);
    else byName.set(entry.slice(0, at), entry);
  }
  if (!byName.has("HOME")) byName.set("HOME", `HOME=${user.home || "/"}`);
  return [...byName.values()];
}

function seccompOf(
  { host, defaults }: SpecInput,
  security: SecurityOptions,
  capabilities: string[],
  privileged: boolean,
): SpecSeccomp | undefined {
  const context = { capabilities, architecture: host.architecture, kernelRelease: host.kernelRelease };
  return seccompFor({ security, daemonDefault: defaults.seccompProfile, privileged, context });
}

function namespaces({ record, joined, idMap }: SpecInput): Namespace[] {
  const { hostConfig } = record;
  const all: Namespace[] = [{ type: "mount" }];
  const add = (type: SharedKind, file: string, mode: string) => {
    if (mode === "host") return;
    const other = /^container:(.+)$/.exec(mode)?.[1];
    all.push(other === undefined ? { type } : { type, path: `/proc/${joined(other, type)}/ns/${file}` });
  };
  add("uts", "uts", hostConfig.UTSMode ?? "");
  add("pid", "pid", hostConfig.PidMode ?? "");
  add("ipc", "ipc", hostConfig.IpcMode ?? "");
  // "none" has a namespace of its own too: one that is joined to nothing.
  const network = hostConfig.NetworkMode ?? "bridge";
  add("network", "net", network.startsWith("container:") || network === "host" ? network : "");
  if (hostConfig.CgroupnsMode === "private") all.push({ type: "cgroup" });
  if (mappingsOf(idMap, hostConfig) !== undefined) {
    // Whoever shares a namespace has to be in the user namespace it belongs to.
    const shared = all.find(({ path }) => path !== undefined)?.path;
    all.push(shared === undefined ? { type: "user" } : { type: "user", path: `${dirname(shared)}/user` });
  }
  return all;
}

/** The default mounts that nothing of the user's replaces, the user's own, outer ones first, then the files over /etc. */
function mounts(input: SpecInput, defaults: readonly SpecMount[]): SpecMount[] {
  const { record, files } = input;
  const own = new Set(record.mounts.map(({ destination }) => destination));
  const file = (source: string, destination: string): SpecMount => ({
    destination,
    type: "bind",
    source,
    options: ["rbind", "rprivate"],
  });
  const etc = [
    file(files.resolvConf, "/etc/resolv.conf"),
    file(files.hostname, "/etc/hostname"),
    file(files.hosts, "/etc/hosts"),
  ];
  const hidden = (destination: string) =>
    own.has(destination) || (destination === "/dev/shm" && input.record.hostConfig.IpcMode === "none");
  const kept = (mounts: readonly SpecMount[]) => mounts.filter(({ destination }) => !hidden(destination));
  return [
    ...kept(defaults).flatMap((mount) => shared(mount, input)),
    ...boundDevices(input).map(deviceMount),
    ...record.mounts.map((mount) => userMount(mount, input)),
    // Over a volume on /etc, too.
    ...kept(etc),
  ];
}

/** writable-cgroups: the container's own groups can be written to, or not even by a privileged one. */
function cgroupAccess({ writableCgroups }: SecurityOptions): (mount: SpecMount) => SpecMount {
  return (mount) => {
    if (writableCgroups === undefined || mount.destination !== "/sys/fs/cgroup") return mount;
    const others = (mount.options ?? []).filter((option) => option !== "ro" && option !== "rw");
    return { ...mount, options: [writableCgroups ? "rw" : "ro", ...others] };
  };
}

/**
 * With the host's or another container's IPC namespace /dev/shm is that one's. The queues are, once the namespace is joined;
 * those of the host nobody can mount in a user namespace.
 */
function shared(mount: SpecMount, { record, joined, idMap }: SpecInput): SpecMount[] {
  const mode = record.hostConfig.IpcMode ?? "";
  const other = /^container:(.+)$/.exec(mode)?.[1];
  if (mode !== "host" && other === undefined) return [mount];
  if (mount.destination === "/dev/mqueue") {
    return mode === "host" && mappingsOf(idMap, record.hostConfig) !== undefined ? [] : [mount];
  }
  if (mount.destination !== "/dev/shm") return [mount];
  const { destination } = mount;
  const bind = { destination, type: "bind", options: ["rbind", "rprivate"] };
  if (other === undefined) return [{ ...bind, source: destination }];
  // Whatever links that container has put there lead nowhere but to its own files.
  const mountNamespace = `/proc/${joined(other, "ipc")}/ns/mnt`;
  return [{ ...bind, source: "/", subpath: "dev/shm", mountNamespace }];
}

function userMount(mount: ContainerMount, { sources }: SpecInput): SpecMount {
  if (mount.type === "tmpfs") {
    const given = mount.tmpfsOptions.split(",").filter(Boolean);
    return {
      destination: mount.destination,
      type: "tmpfs",
      source: "tmpfs",
      options: [
        "noexec",
        "nosuid",
        "nodev",
        ...given,
        ...(mount.readOnly && !given.includes("ro") ? ["ro"] : []),
      ],
    };
  }
  return {
    destination: mount.destination,
    type: "bind",
    source: sources.get(mount.destination) ?? mount.source,
    ...(mount.subpath === "" ? {} : { subpath: mount.subpath }),
    options: [
      mount.recursive ? "rbind" : "bind",
      // Without a word, what is read-only on the host stays so.
      ...(mount.readOnly ? [mount.readOnlyTree ? "rro" : "ro"] : []),
      mount.propagation || "rprivate",
    ],
  };
}

/**
 * In a user namespace no device can be made; the runtime mounts the host's of the same name. Those that have another name
 * in the container are mounts of ours.
 */
function boundDevices({ record: { hostConfig }, idMap }: SpecInput): DeviceMapping[] {
  if (mappingsOf(idMap, hostConfig) === undefined) return [];
  const isRenamed = ({ PathOnHost, PathInContainer }: DeviceMapping) =>
    (PathInContainer || PathOnHost) !== PathOnHost;
  return (hostConfig.Devices ?? []).filter(isRenamed);
}

function deviceMount({ PathOnHost, PathInContainer }: DeviceMapping): SpecMount {
  const options = ["bind", "rprivate", "nosuid", "noexec"];
  return { destination: PathInContainer, type: "bind", source: PathOnHost, options };
}

function device(mapping: DeviceMapping): NonNullable<NonNullable<Spec["linux"]>["devices"]>[number] {
  const { type, major, minor, mode, uid, gid } = readDevice(mapping.PathOnHost);
  return {
    type,
    path: mapping.PathInContainer || mapping.PathOnHost,
    major,
    minor,
    fileMode: mode,
    uid,
    gid,
  };
}

function deviceRule(mapping: DeviceMapping) {
  const { type, major, minor } = readDevice(mapping.PathOnHost);
  return { allow: true, type, major, minor, access: mapping.CgroupPermissions || "rwm" };
}
