/** Bodies of POST /containers/create that have, all together, every field of the specification that Linux knows. */
const GIGABYTE = 2 ** 30;

export function createRequests(Image: string): object[] {
  const withHost = (HostConfig: object) => ({ Image, Cmd: ["true"], HostConfig });
  return [
    everyConfig(Image),
    { Image, NetworkDisabled: true },
    withHost({
      ...limits,
      ...modes,
      ...lists,
      RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 },
    }),
    withHost({ NanoCpus: 500_000_000, AutoRemove: true }),
    withHost({ CpuRealtimePeriod: 1_000_000, CpuRealtimeRuntime: 950_000 }),
    ...mounts.map((mount) => withHost({ Mounts: [mount] })),
    withHost({ NetworkMode: "none", Privileged: true, UsernsMode: "host", ConsoleSize: [30, 40] }),
    withHost({ Links: ["observed-other:alias"], PublishAllPorts: true }),
    { Image, NetworkingConfig: { EndpointsConfig: { bridge: endpoint } } },
  ];
}

export function everyConfig(Image: string): object {
  return {
    Hostname: "host",
    Domainname: "example.org",
    User: "1:1",
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    ExposedPorts: { "80/tcp": {} },
    Tty: true,
    OpenStdin: true,
    StdinOnce: true,
    Env: ["A=b"],
    Cmd: ["true"],
    Healthcheck: {
      Test: ["CMD", "true"],
      Interval: 1e9,
      Timeout: 2e9,
      Retries: 3,
      StartPeriod: 4e9,
      StartInterval: 5e9,
    },
    ArgsEscaped: true,
    Image,
    Volumes: { "/volume": {} },
    WorkingDir: "/work",
    Entrypoint: ["/bin/sh"],
    MacAddress: "02:42:ac:11:00:63",
    OnBuild: ["RUN true"],
    Labels: { a: "b" },
    StopSignal: "SIGINT",
    StopTimeout: 7,
    Shell: ["/bin/sh", "-c"],
  };
}

const limits = {
  CpuShares: 512,
  Memory: GIGABYTE,
  CgroupParent: "/observed",
  BlkioWeight: 500,
  BlkioWeightDevice: [{ Path: "/dev/null", Weight: 400 }],
  BlkioDeviceReadBps: [{ Path: "/dev/null", Rate: 1000 }],
  BlkioDeviceWriteBps: [{ Path: "/dev/null", Rate: 1001 }],
  BlkioDeviceReadIOps: [{ Path: "/dev/null", Rate: 1002 }],
  BlkioDeviceWriteIOps: [{ Path: "/dev/null", Rate: 1003 }],
  CpuPeriod: 100_000,
  CpuQuota: 50_000,
  CpusetCpus: "0",
  CpusetMems: "0",
  Devices: [{ PathOnHost: "/dev/null", PathInContainer: "/dev/observed", CgroupPermissions: "rw" }],
  DeviceCgroupRules: ["c 1:3 rwm"],
  DeviceRequests: [
    { Driver: "none", Count: 1, DeviceIDs: null, Capabilities: [["gpu"]], Options: { a: "b" } },
    { Driver: "none", Count: 0, DeviceIDs: ["0"], Capabilities: [["gpu"]], Options: { a: "b" } },
  ],
  KernelMemoryTCP: 2 ** 20,
  MemoryReservation: GIGABYTE / 2,
  MemorySwap: 2 * GIGABYTE,
  MemorySwappiness: 60,
  OomKillDisable: true,
  Init: true,
  PidsLimit: 100,
  Ulimits: [{ Name: "nofile", Soft: 1000, Hard: 2000 }],
};

const modes = {
  ContainerIDFile: "/observed.cid",
  LogConfig: { Type: "json-file", Config: { "max-size": "1m" } },
  NetworkMode: "bridge",
  CgroupnsMode: "private",
  IpcMode: "shareable",
  Cgroup: "",
  OomScoreAdj: 100,
  PidMode: "host",
  ReadonlyRootfs: true,
  UTSMode: "host",
  ShmSize: 2 ** 20,
  Runtime: "berth",
  VolumeDriver: "local",
};

const lists = {
  Binds: ["observed-source:/bound:ro"],
  VolumesFrom: ["observed-other"],
  PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "54321" }] },
  Annotations: { a: "b" },
  CapAdd: ["CAP_NET_ADMIN"],
  CapDrop: ["CAP_CHOWN"],
  Dns: ["192.0.2.1"],
  DnsOptions: ["ndots:1"],
  DnsSearch: ["example.org"],
  ExtraHosts: ["a:192.0.2.2"],
  GroupAdd: ["1"],
  SecurityOpt: ["no-new-privileges"],
  StorageOpt: {},
  Tmpfs: { "/tmpfs": "size=1m" },
  Sysctls: { "net.ipv4.ip_forward": "1" },
  MaskedPaths: ["/proc/acpi"],
  ReadonlyPaths: ["/proc/bus"],
};

const mounts = [
  {
    Type: "bind",
    Source: "/etc",
    Target: "/bind",
    ReadOnly: true,
    Consistency: "cached",
    BindOptions: {
      Propagation: "rslave",
      NonRecursive: true,
      CreateMountpoint: true,
      ReadOnlyNonRecursive: true,
    },
  },
  {
    Type: "bind",
    Source: "/etc",
    Target: "/recursive",
    ReadOnly: true,
    BindOptions: { Propagation: "rprivate", ReadOnlyForceRecursive: true },
  },
  {
    Type: "volume",
    Source: "observed-made",
    Target: "/volume",
    VolumeOptions: {
      NoCopy: true,
      Labels: { a: "b" },
      DriverConfig: { Name: "local", Options: { type: "tmpfs", device: "tmpfs" } },
    },
  },
  { Type: "volume", Source: "observed-source", Target: "/part", VolumeOptions: { Subpath: "." } },
  {
    Type: "tmpfs",
    Target: "/tmpfs",
    TmpfsOptions: { SizeBytes: 2 ** 20, Mode: 0o700, Options: [["noexec"]] },
  },
  { Type: "image", Source: "berth/busybox", Target: "/image", ImageOptions: { Subpath: "bin" } },
];

const endpoint = { DriverOpts: { a: "b" }, MacAddress: "02:42:ac:11:00:64", GwPriority: 3 };

/** With all that can be asked of an endpoint, on a network of IPv4 and IPv6 that a user made. */
export function createOnNetworkRequest(Image: string, network: string): object {
  const wishes = {
    ...endpoint,
    IPAMConfig: {
      IPv4Address: "10.213.246.200",
      IPv6Address: "fd00:213:246::200",
      LinkLocalIPs: ["169.254.34.68"],
    },
    Links: ["observed-linked:alias"],
    Aliases: ["observed-alias"],
  };
  return {
    Image,
    HostConfig: { NetworkMode: network },
    NetworkingConfig: { EndpointsConfig: { [network]: wishes } },
  };
}
