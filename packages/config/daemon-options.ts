/**
 * Every option of the daemon once: its flag, its key in daemon.json, its kind. The names are dockerd's, so that
 * command lines and files written for it work; what has no effect here yet says so when it is used.
 */

export interface DaemonOption {
  /** Long flag without dashes. */
  flag: string;
  /** One letter, if there is one. */
  short?: string;
  /** Key in daemon.json; the flag's name unless plural there. */
  key?: string;
  kind: "boolean" | "string" | "number" | "list" | "map" | "object";
  help: string;
  /** Accepted, but nothing happens yet; using it warns. */
  inert?: boolean;
}

export const DAEMON_OPTIONS: readonly DaemonOption[] = [
  {
    flag: "host",
    short: "H",
    key: "hosts",
    kind: "list",
    help: "Socket to listen on (unix:///path, tcp://address:port, fd://)",
  },
  { flag: "data-root", kind: "string", help: "Directory of everything durable" },
  { flag: "exec-root", kind: "string", help: "Directory of what lives until the machine restarts" },
  { flag: "pidfile", short: "p", kind: "string", help: "File for the daemon's process id" },
  { flag: "config-file", kind: "string", help: "Daemon configuration file" },
  { flag: "debug", short: "D", kind: "boolean", help: "Log more" },
  { flag: "log-level", short: "l", kind: "string", help: "debug, info, warn, error or fatal" },
  { flag: "log-format", kind: "string", help: "text or json" },
  { flag: "group", short: "G", kind: "string", help: "Group that may use the unix socket" },
  { flag: "label", key: "labels", kind: "list", help: "Labels shown by info" },
  { flag: "bridge", short: "b", kind: "string", help: "Name of the default bridge; none for no bridge" },
  { flag: "bip", kind: "string", help: "Address and prefix of the default bridge" },
  { flag: "fixed-cidr", kind: "string", help: "Part of the bridge's subnet to give addresses from" },
  { flag: "ipv6", kind: "boolean", help: "IPv6 on the default bridge, too" },
  { flag: "bip6", kind: "string", help: "IPv6 address and prefix of the default bridge" },
  {
    flag: "fixed-cidr-v6",
    kind: "string",
    help: "IPv6 subnet of the default bridge, or the part to give from",
  },
  { flag: "mtu", kind: "number", help: "MTU of the default bridge" },
  { flag: "iptables", kind: "boolean", help: "Set firewall rules" },
  { flag: "ip6tables", kind: "boolean", help: "Set firewall rules for IPv6, too" },
  {
    flag: "userland-proxy",
    kind: "boolean",
    help: "Relay what published ports get that cannot be translated",
  },
  { flag: "firewall-backend", kind: "string", help: "What sets them: iptables or nftables" },
  { flag: "ip-forward", kind: "boolean", help: "Switch IP forwarding on" },
  { flag: "ip-masq", kind: "boolean", help: "Masquerade the bridge's addresses" },
  { flag: "icc", kind: "boolean", help: "Let containers on the default bridge reach each other" },
  { flag: "ip", kind: "string", help: "Host address for published ports" },
  { flag: "dns", kind: "list", help: "DNS servers for containers" },
  { flag: "dns-search", kind: "list", help: "DNS search domains" },
  { flag: "dns-opt", key: "dns-opts", kind: "list", help: "DNS options" },
  {
    flag: "host-gateway-ip",
    key: "host-gateway-ips",
    kind: "list",
    help: "What host-gateway stands for in --add-host: an address, or one of each family",
  },
  {
    flag: "default-address-pool",
    key: "default-address-pools",
    kind: "object",
    help: "Pools for networks: base=10.0.0.0/8,size=24",
  },
  {
    flag: "insecure-registry",
    key: "insecure-registries",
    kind: "list",
    help: "Registry that may be used without verified TLS",
  },
  { flag: "registry-mirror", key: "registry-mirrors", kind: "list", help: "Mirror of the default registry" },
  { flag: "max-concurrent-downloads", kind: "number", help: "Layers downloaded at once" },
  { flag: "max-concurrent-uploads", kind: "number", help: "Layers uploaded at once" },
  { flag: "max-download-attempts", kind: "number", help: "Attempts for each layer" },
  { flag: "max-layer-size", kind: "string", help: "What a layer may unpack to (0: no limit)" },
  {
    flag: "max-layer-ratio",
    kind: "number",
    help: "Times its size that a layer above 8 GiB may unpack to (0: no limit)",
  },
  { flag: "storage-driver", short: "s", kind: "string", help: "Storage driver" },
  { flag: "storage-opt", key: "storage-opts", kind: "list", help: "Storage driver options" },
  { flag: "log-driver", kind: "string", help: "Default log driver of containers" },
  { flag: "log-opt", key: "log-opts", kind: "map", help: "Default log options of containers" },
  {
    flag: "default-ulimit",
    key: "default-ulimits",
    kind: "object",
    help: "Default limits of containers: nofile=1024:2048",
  },
  { flag: "default-shm-size", kind: "string", help: "Default size of /dev/shm" },
  { flag: "default-runtime", kind: "string", help: "Default runtime", inert: true },
  { flag: "cgroup-parent", kind: "string", help: "Parent cgroup of all containers" },
  { flag: "cpu-rt-period", kind: "number", help: "Period of containers' real-time processes, microseconds" },
  { flag: "cpu-rt-runtime", kind: "number", help: "Time of all of them in a period, microseconds" },
  { flag: "default-cgroupns-mode", kind: "string", help: "host or private" },
  { flag: "default-ipc-mode", kind: "string", help: "private or shareable" },
  { flag: "init", kind: "boolean", help: "An init in every container" },
  { flag: "no-new-privileges", kind: "boolean", help: "no-new-privileges for every container" },
  { flag: "seccomp-profile", kind: "string", help: "File of the default seccomp profile, or unconfined" },
  { flag: "shutdown-timeout", kind: "number", help: "Seconds to let requests end" },
  { flag: "live-restore", kind: "boolean", help: "Always on: containers outlive the daemon" },
  {
    flag: "userns-remap",
    kind: "string",
    help: "User whose subordinate ids containers' users are (default, user, uid, with :group)",
  },
  { flag: "experimental", kind: "boolean", help: "Experimental features" },
  { flag: "tls", kind: "boolean", help: "TLS on TCP sockets" },
  { flag: "tlsverify", kind: "boolean", help: "TLS with client certificates" },
  { flag: "tlscacert", kind: "string", help: "Trust certificates signed by this CA" },
  { flag: "tlscert", kind: "string", help: "TLS certificate" },
  {
    flag: "authorization-plugin",
    key: "authorization-plugins",
    kind: "list",
    help: "Plugin that is asked about every request",
  },
  { flag: "tlskey", kind: "string", help: "TLS key" },
  // Accepted for the sake of existing command lines and files.
  { flag: "add-runtime", key: "runtimes", kind: "object", help: "Register a runtime", inert: true },
  { flag: "exec-opt", key: "exec-opts", kind: "list", help: "Runtime options", inert: true },
  { flag: "containerd", kind: "string", help: "No containerd is used", inert: true },
  { flag: "metrics-addr", kind: "string", help: "Address for metrics", inert: true },
  { flag: "oom-score-adjust", kind: "number", help: "OOM score of the daemon", inert: true },
  { flag: "selinux-enabled", kind: "boolean", help: "SELinux labels", inert: true },
  { flag: "feature", key: "features", kind: "map", help: "Feature flags", inert: true },
  { flag: "builder", key: "builder", kind: "object", help: "Builder settings", inert: true },
  { flag: "proxies", key: "proxies", kind: "object", help: "Proxy settings" },
  { flag: "http-proxy", kind: "string", help: "Proxy for HTTP" },
  { flag: "https-proxy", kind: "string", help: "Proxy for HTTPS" },
  { flag: "no-proxy", kind: "string", help: "Hosts without proxy" },
  { flag: "raw-logs", kind: "boolean", help: "Plain log lines", inert: true },
];

export function keyOf(option: DaemonOption): string {
  return option.key ?? option.flag;
}
