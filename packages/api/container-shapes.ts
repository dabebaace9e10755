/** Shapes of the bodies that create containers and execs; one entry for every field of the API's types. */
import type {
  ContainerCreateRequest,
  DeviceMapping,
  ExecCreateRequest,
  HostConfig,
  MountRequest,
  ThrottleDevice,
} from "#api-types/container.ts";
import type { ImageContainerConfig } from "#api-types/image.ts";
import type { EndpointSettings, PortBinding } from "#api-types/network.ts";
import {
  anything,
  boolean,
  emptyObject,
  integer,
  list,
  map,
  nullable,
  object,
  type Shape,
  size,
  text,
  words,
} from "./shape.ts";

const texts = nullable(list(text));
const textMap = nullable(map(text));
const throttles = nullable(list(object<ThrottleDevice>({ Path: text, Rate: integer })));

const healthcheck = object<NonNullable<ImageContainerConfig["Healthcheck"]>>({
  Test: list(text),
  Interval: integer,
  Timeout: integer,
  StartPeriod: integer,
  StartInterval: integer,
  Retries: integer,
});

const mount = object<MountRequest>({
  // Which types there are is the engine's to say.
  Type: text as Shape<string> as Shape<MountRequest["Type"]>,
  Source: text,
  Target: text,
  ReadOnly: boolean,
  Consistency: text,
  BindOptions: object<NonNullable<MountRequest["BindOptions"]>>({
    Propagation: text,
    NonRecursive: boolean,
    CreateMountpoint: boolean,
    ReadOnlyNonRecursive: boolean,
    ReadOnlyForceRecursive: boolean,
  }),
  VolumeOptions: object<NonNullable<MountRequest["VolumeOptions"]>>({
    NoCopy: boolean,
    Labels: map(text),
    DriverConfig: object<{ Name?: string; Options?: Record<string, string> }>({
      Name: text,
      Options: map(text),
    }),
    Subpath: text,
  }),
  TmpfsOptions: object<NonNullable<MountRequest["TmpfsOptions"]>>({
    SizeBytes: integer,
    Mode: integer,
    Options: list(list(text)),
  }),
  ImageOptions: object<NonNullable<MountRequest["ImageOptions"]>>({ Subpath: text }),
});

const hostConfig = object<HostConfig>({
  Binds: texts,
  ContainerIDFile: text,
  LogConfig: object<NonNullable<HostConfig["LogConfig"]>>({ Type: text, Config: textMap }),
  NetworkMode: text,
  PortBindings: nullable(map(nullable(list(object<PortBinding>({ HostIp: text, HostPort: text }))))),
  RestartPolicy: object<NonNullable<HostConfig["RestartPolicy"]>>({ Name: text, MaximumRetryCount: integer }),
  AutoRemove: boolean,
  VolumeDriver: text,
  VolumesFrom: texts,
  ConsoleSize: size,
  Annotations: map(text),
  CapAdd: nullable(words),
  CapDrop: nullable(words),
  CgroupnsMode: text,
  Dns: texts,
  DnsOptions: texts,
  DnsSearch: texts,
  ExtraHosts: texts,
  GroupAdd: texts,
  IpcMode: text,
  Cgroup: text,
  Links: texts,
  OomScoreAdj: integer,
  PidMode: text,
  Privileged: boolean,
  PublishAllPorts: boolean,
  ReadonlyRootfs: boolean,
  SecurityOpt: texts,
  StorageOpt: textMap,
  Tmpfs: textMap,
  UTSMode: text,
  UsernsMode: text,
  ShmSize: integer,
  Sysctls: textMap,
  Runtime: text,
  Isolation: text,
  Mounts: nullable(list(mount)),
  MaskedPaths: texts,
  ReadonlyPaths: texts,
  Init: nullable(boolean),
  CpuShares: integer,
  Memory: integer,
  NanoCpus: integer,
  CgroupParent: text,
  BlkioWeight: integer,
  BlkioWeightDevice: nullable(
    list(object<{ Path: string; Weight: number }>({ Path: text, Weight: integer })),
  ),
  BlkioDeviceReadBps: throttles,
  BlkioDeviceWriteBps: throttles,
  BlkioDeviceReadIOps: throttles,
  BlkioDeviceWriteIOps: throttles,
  CpuPeriod: integer,
  CpuQuota: integer,
  KernelMemory: integer,
  CpuRealtimePeriod: integer,
  CpuRealtimeRuntime: integer,
  CpusetCpus: text,
  CpusetMems: text,
  Devices: nullable(
    list(object<DeviceMapping>({ PathOnHost: text, PathInContainer: text, CgroupPermissions: text })),
  ),
  DeviceCgroupRules: texts,
  DeviceRequests: nullable(list(anything)),
  KernelMemoryTCP: integer,
  MemoryReservation: integer,
  MemorySwap: integer,
  MemorySwappiness: nullable(integer),
  OomKillDisable: nullable(boolean),
  PidsLimit: nullable(integer),
  Ulimits: nullable(
    list(object<{ Name: string; Soft: number; Hard: number }>({ Name: text, Soft: integer, Hard: integer })),
  ),
  CpuCount: integer,
  CpuPercent: integer,
  IOMaximumIOps: integer,
  IOMaximumBandwidth: integer,
});

/** What may be updated are fields of it. */
export const containerUpdateShape: Shape<HostConfig> = hostConfig;

export const endpointSettings = object<Partial<EndpointSettings>>({
  IPAMConfig: nullable(
    object<NonNullable<EndpointSettings["IPAMConfig"]>>({
      IPv4Address: text,
      IPv6Address: text,
      LinkLocalIPs: list(text),
    }),
  ),
  Links: texts,
  Aliases: texts,
  MacAddress: text,
  DriverOpts: textMap,
  GwPriority: integer,
  NetworkID: text,
  EndpointID: text,
  Gateway: text,
  IPAddress: text,
  IPPrefixLen: integer,
  IPv6Gateway: text,
  GlobalIPv6Address: text,
  GlobalIPv6PrefixLen: integer,
  DNSNames: texts,
});

export const containerCreateShape: Shape<ContainerCreateRequest> = object<
  Omit<ContainerCreateRequest, "readOnlyMountAlone">
>({
  Hostname: text,
  Domainname: text,
  User: text,
  ExposedPorts: map(emptyObject),
  Env: texts,
  Cmd: nullable(words),
  ArgsEscaped: boolean,
  Volumes: nullable(map(emptyObject)),
  WorkingDir: text,
  Entrypoint: nullable(words),
  OnBuild: texts,
  Labels: textMap,
  StopSignal: text,
  StopTimeout: integer,
  Shell: words,
  Healthcheck: healthcheck,
  AttachStdin: boolean,
  AttachStdout: boolean,
  AttachStderr: boolean,
  Tty: boolean,
  OpenStdin: boolean,
  StdinOnce: boolean,
  Image: text,
  NetworkDisabled: boolean,
  MacAddress: text,
  HostConfig: nullable(hostConfig),
  NetworkingConfig: nullable(
    object<NonNullable<ContainerCreateRequest["NetworkingConfig"]>>({
      EndpointsConfig: nullable(map(endpointSettings)),
    }),
  ),
});

export const execCreateShape = object<ExecCreateRequest>({
  AttachStdin: boolean,
  AttachStdout: boolean,
  AttachStderr: boolean,
  DetachKeys: text,
  Tty: boolean,
  ConsoleSize: nullable(size),
  Env: texts,
  Cmd: nullable(words),
  Privileged: boolean,
  User: text,
  WorkingDir: text,
});

export interface ExecStartRequest {
  Detach?: boolean;
  Tty?: boolean;
  ConsoleSize?: [number, number] | null;
}

export const execStartShape = object<ExecStartRequest>({
  Detach: boolean,
  Tty: boolean,
  ConsoleSize: nullable(size),
});
