/** The daemon's configuration after flags, daemon.json and defaults have been put together. */

export interface DaemonConfig {
  /** "unix:///run/berth/berth.sock", "tcp://127.0.0.1:2375", "fd://". */
  hosts: string[];
  dataRoot: string;
  execRoot: string;
  pidfile: string;
  configFile: string;
  debug: boolean;
  logLevel: string;
  logFormat: "text" | "json";
  /** Group that owns unix sockets. */
  group: string;
  labels: string[];
  // networking
  bridge: string;
  bip: string | undefined;
  fixedCidr: string | undefined;
  ipv6: boolean;
  bip6: string | undefined;
  fixedCidr6: string | undefined;
  mtu: number;
  iptables: boolean;
  ip6tables: boolean;
  userlandProxy: boolean;
  firewallBackend: "iptables" | "nftables";
  ipForward: boolean;
  ipMasq: boolean;
  icc: boolean;
  ip: string;
  dns: string[];
  dnsSearch: string[];
  dnsOptions: string[];
  hostGatewayIps: string[];
  defaultAddressPools: { base: string; size: number }[];
  // images
  insecureRegistries: string[];
  registryMirrors: string[];
  maxConcurrentDownloads: number;
  maxConcurrentUploads: number;
  maxDownloadAttempts: number;
  /** Bytes that a layer may unpack to; 0 for no limit. */
  maxLayerSize: number;
  /** Times its compressed size that a large layer may unpack to; 0 for no limit. */
  maxLayerRatio: number;
  /** By what way registries are reached; empty: directly. */
  proxy: { http: string; https: string; no: string };
  // containers
  storageDriver: string;
  storageOpts: string[];
  logDriver: string;
  logOpts: Record<string, string>;
  defaultUlimits: { Name: string; Soft: number; Hard: number }[];
  defaultShmSize: number;
  defaultRuntime: string;
  cgroupParent: string;
  /** Real-time scheduling for all containers together, microseconds; 0: as it is. */
  cpuRtPeriod: number;
  cpuRtRuntime: number;
  defaultCgroupnsMode: string;
  defaultIpcMode: string;
  init: boolean;
  noNewPrivileges: boolean;
  seccompProfile: string;
  shutdownTimeout: number;
  liveRestore: boolean;
  experimental: boolean;
  /** Whose subordinate ids containers' users are on the host (userns-remap.ts); "" for none. */
  usernsRemap: string;
  /** Names of the plugins that are asked about every request, in order. */
  authorizationPlugins: string[];
  // TLS
  tls: boolean;
  /** `--tls=false`, said in so many words: the API may be reached by TCP without TLS from other machines. */
  insecureTcp: boolean;
  tlsVerify: boolean;
  tlsCaCert: string;
  tlsCert: string;
  tlsKey: string;
}
