/**
 * Fields of the specification that a daemon on Linux, outside a swarm and without containerd does not answer or heed, each
 * with the reason. What is here is not missing; dockerd doesn't have it either, unless the reason says otherwise.
 */
export interface Reason {
  /** Of operations' ids; empty for all. */
  operations: string;
  /** "query name", "body path" or "answer path", all of it. */
  field: RegExp;
  text: string;
}

const WINDOWS = "of Windows";
const SWARM = "of a swarm";
const STORE = "of an image store with manifests (containerd's)";
const UPDATE = "no use in an update: dockerd takes no notice of it";

export const reasons: readonly Reason[] = [
  {
    operations: "ContainerStart",
    field: /^query detachKeys$/,
    text: "dockerd takes no notice of it: attach has its own",
  },
  {
    operations: "",
    field: /^(body|answer) (.*\.)?(CpuCount|CpuPercent|IOMaximumIOps|IOMaximumBandwidth|Isolation)$/,
    text: WINDOWS,
  },
  { operations: "ContainerStats", field: /^answer storage_stats\./, text: WINDOWS },
  {
    operations: "ContainerStats",
    field: /^answer memory_stats\.(commit.*|privateworkingset)$/,
    text: WINDOWS,
  },
  { operations: "ContainerStats", field: /^answer networks\{\}\.(endpoint|instance)_id$/, text: WINDOWS },
  {
    operations: "ContainerStats",
    field:
      /^answer blkio_stats\.(io_queue|io_service_time|io_wait_time|io_merged|io_time|sectors)_recursive\[\]\./,
    text: "the list is empty: kernels count this only for an I/O scheduler with weights",
  },
  {
    operations: "",
    field: /^(body|answer) (.*\.)?BlkioWeight(Device(\[\]\.(Path|Weight))?)?$/,
    text: "only on kernels that weigh block devices; elsewhere dropped with a warning",
  },
  { operations: "", field: /ImageManifestDescriptor/, text: STORE },
  { operations: "ImageList ImageInspect SystemDataUsage", field: /(Manifests|Descriptor)\b/, text: STORE },
  {
    operations: "",
    field: /^answer (.*\.)?VirtualSize$/,
    text: "left the API with version 1.44; older versions get it",
  },
  { operations: "", field: /^(answer|body) (.*\.)?ClusterVolume(Spec)?\b/, text: SWARM },
  { operations: "VolumeUpdate", field: /./, text: SWARM },
  { operations: "", field: /^answer (Volumes\[\]\.)?Status$/, text: "only volume plugins tell one" },
  {
    operations: "VolumeList VolumeInspect VolumeCreate",
    field: /^answer (Volumes\[\]\.)?UsageData/,
    text: "told by /system/df alone",
  },
  {
    operations: "ContainerInspect",
    field: /\.SecondaryIP(v6)?Addresses\[\]/,
    text: "the list is null: of links of old",
  },
  {
    operations: "ContainerCreate NetworkConnect",
    field:
      /^body (NetworkingConfig\.EndpointsConfig\{\}|EndpointConfig)\.(NetworkID|EndpointID|Gateway|IPAddress|IPPrefixLen|IPv6Gateway|GlobalIPv6Address|GlobalIPv6PrefixLen|DNSNames)$/,
    text: "for the daemon to tell: taken no notice of in a request",
  },
  {
    operations: "ContainerUpdate",
    field:
      /^body (CgroupParent|Blkio\w+|Devices|DeviceCgroupRules|DeviceRequests|KernelMemoryTCP|MemorySwappiness|OomKillDisable|Init|Ulimits)\b/,
    text: UPDATE,
  },
  {
    operations: "SystemInfo",
    field: /^answer Swarm\.(RemoteManagers\[\]|Nodes|Managers|Cluster)/,
    text: SWARM,
  },
  { operations: "SystemInfo", field: /^answer GenericResources\[\]/, text: "the list is null: for services" },
  {
    operations: "SystemInfo",
    field: /^answer BridgeNf/,
    text: "left the API with version 1.50; older versions get it",
  },
  { operations: "SystemInfo", field: /^answer Containerd\b/, text: "there is no containerd" },
  {
    operations: "SystemInfo",
    field: /^answer DiscoveredDevices/,
    text: "no device driver that finds devices (CDI)",
  },
  {
    operations: "SystemInfo",
    field: /^answer FirewallBackend\.Info$/,
    text: "nothing to tell without firewalld",
  },
  { operations: "SystemInfo", field: /\.runtimeArgs$/, text: "the one runtime needs none" },
  {
    operations: "SystemDataUsage",
    field: /^answer BuildCache\[\]/,
    text: "the list is empty: there is no builder yet",
  },
  { operations: "NetworkInspect", field: /^query verbose$/, text: SWARM },
  { operations: "NetworkCreate", field: /^body Ingress$/, text: SWARM },
  { operations: "NetworkList NetworkInspect", field: /^answer (Peers|Services)/, text: SWARM },
  { operations: "ImageInspect", field: /^answer OsVersion$/, text: WINDOWS },
  { operations: "DistributionInspect", field: /\.os\.(version|features)$/, text: WINDOWS },
  {
    operations: "DistributionInspect",
    field: /^answer Descriptor\.(urls|annotations|data|platform|artifactType)\b/,
    text: "dockerd tells type, digest and size of what the name stands for",
  },
  { operations: "ImageList ImageInspect", field: /^query manifests$/, text: STORE },
  {
    operations: "ImageList",
    field: /^query digests$/,
    text: "dockerd takes no notice of it: digests are always told",
  },
  {
    operations: "BuildPrune",
    field: /^query/,
    text: "there is no builder yet, and nothing of its to remove",
  },
  {
    operations: "ImageCreate ImagePush",
    field: /^answer errorDetail\.code$/,
    text: "told of the steps of a build alone",
  },
  {
    operations: "PluginList",
    field: /./,
    text: "the list is empty: plugins from registries cannot be installed",
  },
];

export function reasonFor(operation: string, field: string): string | undefined {
  return reasons.find(
    ({ operations, field: pattern }) =>
      (operations === "" || operations.split(" ").includes(operation)) && pattern.test(field),
  )?.text;
}
