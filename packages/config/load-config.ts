/** The daemon's configuration: flags over daemon.json over defaults, checked. */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { DaemonConfig } from "#config/config-types.ts";
import { parseDaemonJson } from "#config/daemon-json.ts";
import { DAEMON_OPTIONS, keyOf } from "#config/daemon-options.ts";
import { helpText, parseFlags, type RawConfig } from "#config/parse-flags.ts";
import { BerthError } from "#errors/errors.ts";

const DEFAULT_CONFIG_FILE = "/etc/berth/daemon.json";
/** Bytes; above it the state database cannot be opened. */
const longestDataRoot = 400;

export type LoadedConfig =
  | { config: DaemonConfig; warnings: string[] }
  | { help: string }
  | { version: true };

/** `readFile` throws as fs does. Throws BerthError "invalid" for anything that cannot be meant. */
export function loadConfig(
  argv: readonly string[],
  readFile: (path: string) => string = (path) => readFileSync(path, "utf8"),
): LoadedConfig {
  const flags = parseFlags(argv);
  if ("help" in flags) return { help: helpText() };
  if ("version" in flags) return { version: true };
  const file = readConfigFile(flags.values, readFile);
  const both = Object.keys(flags.values).filter((key) => key in file);
  if (both.length > 0) {
    throw invalid(
      `the following directives are specified both as a flag and in the configuration file: ${both.join(", ")}`,
      both.join(", "),
    );
  }
  const raw = { ...file, ...flags.values };
  const warnings = DAEMON_OPTIONS.filter((option) => option.inert && keyOf(option) in raw).map(
    (option) => `${keyOf(option)} has no effect yet`,
  );
  return { config: complete(raw), warnings };
}

function readConfigFile(flags: RawConfig, readFile: (path: string) => string): RawConfig {
  const explicit = flags["config-file"] as string | undefined;
  const path = explicit ?? DEFAULT_CONFIG_FILE;
  let text: string;
  try {
    text = readFile(path);
  } catch (cause) {
    // Only a file that was asked for has to be there.
    if (explicit === undefined && (cause as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw invalid(`unable to configure the daemon with file ${path}: ${String(cause)}`, path);
  }
  return parseDaemonJson(text, path);
}

function complete(raw: RawConfig): DaemonConfig {
  const get = <T>(key: string, otherwise: T): T => (raw[key] === undefined ? otherwise : (raw[key] as T));
  const execRoot = get("exec-root", "/run/berth");
  const config: DaemonConfig = {
    hosts: get("hosts", [`unix://${execRoot}/berth.sock`]),
    dataRoot: get("data-root", "/var/lib/berth"),
    execRoot,
    pidfile: get("pidfile", `${execRoot}/berthd.pid`),
    configFile: get("config-file", DEFAULT_CONFIG_FILE),
    debug: get("debug", false),
    logLevel: get("log-level", "info"),
    logFormat: get("log-format", "text"),
    group: get("group", "berth"),
    labels: get("labels", []),
    bridge: get("bridge", "berth0"),
    bip: get("bip", undefined),
    fixedCidr: get("fixed-cidr", undefined),
    ipv6: get("ipv6", false),
    bip6: get("bip6", undefined),
    fixedCidr6: get("fixed-cidr-v6", undefined),
    mtu: get("mtu", 1500),
    iptables: get("iptables", true),
    ip6tables: get("ip6tables", true),
    userlandProxy: get("userland-proxy", true),
    firewallBackend: get("firewall-backend", "iptables"),
    ipForward: get("ip-forward", true),
    ipMasq: get("ip-masq", true),
    icc: get("icc", true),
    ip: get("ip", "0.0.0.0"),
    dns: get("dns", []),
    dnsSearch: get("dns-search", []),
    dnsOptions: get("dns-opts", []),
    hostGatewayIps: get("host-gateway-ips", []),
    defaultAddressPools: addressPools(raw["default-address-pools"]),
    insecureRegistries: get("insecure-registries", []),
    registryMirrors: get("registry-mirrors", []),
    maxConcurrentDownloads: get("max-concurrent-downloads", 3),
    maxConcurrentUploads: get("max-concurrent-uploads", 5),
    maxDownloadAttempts: get("max-download-attempts", 5),
    maxLayerSize: size(get("max-layer-size", "0")),
    maxLayerRatio: get("max-layer-ratio", 200),
    proxy: proxy(raw),
    storageDriver: get("storage-driver", ""),
    storageOpts: get("storage-opts", []),
    logDriver: get("log-driver", "json-file"),
    logOpts: get("log-opts", {}),
    defaultUlimits: ulimits(raw["default-ulimits"]),
    defaultShmSize: size(get("default-shm-size", "64m")),
    defaultRuntime: get("default-runtime", "berth"),
    cgroupParent: get("cgroup-parent", ""),
    cpuRtPeriod: get("cpu-rt-period", 0),
    cpuRtRuntime: get("cpu-rt-runtime", 0),
    defaultCgroupnsMode: get("default-cgroupns-mode", ""),
    defaultIpcMode: get("default-ipc-mode", "private"),
    init: get("init", false),
    noNewPrivileges: get("no-new-privileges", false),
    seccompProfile: get("seccomp-profile", ""),
    shutdownTimeout: get("shutdown-timeout", 15),
    liveRestore: true,
    experimental: get("experimental", false),
    usernsRemap: get("userns-remap", ""),
    authorizationPlugins: get("authorization-plugins", []),
    tls: get("tls", false),
    insecureTcp: raw.tls === false && raw.tlsverify !== true,
    tlsVerify: get("tlsverify", false),
    tlsCaCert: get("tlscacert", ""),
    tlsCert: get("tlscert", ""),
    tlsKey: get("tlskey", ""),
  };
  check(config);
  return config;
}

function check(config: DaemonConfig): void {
  for (const host of config.hosts) {
    if (!/^(unix:\/\/\/|tcp:\/\/|fd:\/\/)/.test(host)) {
      throw invalid(`invalid host ${host}: use unix:///path, tcp://address:port or fd://`, host);
    }
  }
  oneOf("log-level", config.logLevel, ["debug", "info", "warn", "error", "fatal"]);
  oneOf("log-format", config.logFormat, ["text", "json"]);
  oneOf("firewall-backend", config.firewallBackend, ["iptables", "nftables"]);
  oneOf("storage-driver", config.storageDriver, ["", "aufs", "btrfs", "devicemapper", "overlay2", "vfs"]);
  oneOf("default-ipc-mode", config.defaultIpcMode, ["private", "shareable"]);
  oneOf("default-cgroupns-mode", config.defaultCgroupnsMode, ["", "host", "private"]);
  for (const [name, cidr] of [
    ["bip", config.bip],
    ["fixed-cidr", config.fixedCidr],
    ["bip6", config.bip6],
    ["fixed-cidr-v6", config.fixedCidr6],
  ] as const) {
    if (cidr !== undefined && !isCidr(cidr))
      throw invalid(`invalid CIDR address for --${name}: ${cidr}`, cidr);
  }
  for (const [index, address] of config.hostGatewayIps.entries()) {
    const family = isIP(address);
    if (family === 0) throw invalid(`invalid address for --host-gateway-ip: ${address}`, address);
    if (config.hostGatewayIps.slice(0, index).some((other) => isIP(other) === family)) {
      throw invalid(`only one IPv${family} address is possible for --host-gateway-ip: ${address}`, address);
    }
  }
  if (isIP(config.ip) === 0) throw invalid(`invalid address for --ip: ${config.ip}`, config.ip);
  if (config.bridge === "none" && config.bip !== undefined) {
    throw invalid("you specified --bridge none and --bip; they exclude each other", "--bip");
  }
  // IFNAMSIZ, include/uapi/linux/if.h: 16 with the final NUL.
  if (!/^[^/\s]{1,15}$/.test(config.bridge))
    throw invalid(`invalid bridge name: ${config.bridge}`, config.bridge);
  // The longest control socket below it has 61 more characters, and a socket address takes 107 (unix(7)).
  if (config.execRoot.length > 46) {
    throw invalid(
      `--exec-root is too long (${config.execRoot.length} characters, 46 at most)`,
      config.execRoot,
    );
  }
  for (const [name, path] of [
    ["data-root", config.dataRoot],
    ["exec-root", config.execRoot],
  ] as const) {
    if (!path.startsWith("/")) throw invalid(`--${name} must be an absolute path: ${path}`, path);
  }
  // SQLite takes 512 bytes (SQLITE_MAX_PATHNAME), of which the names of its files below and --userns-remap's part need some.
  const rootLength = Buffer.byteLength(config.dataRoot);
  if (rootLength > longestDataRoot)
    throw invalid(
      `--data-root is too long (${rootLength} bytes, ${longestDataRoot} at most)`,
      config.dataRoot,
    );
}

function oneOf(name: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  const choices = allowed.filter(Boolean).join(", ");
  throw invalid(`invalid value for --${name}: ${value} (one of ${choices})`, value);
}

function isCidr(text: string): boolean {
  const [address = "", prefix = ""] = text.split("/");
  const longest = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : -1;
  return /^\d{1,3}$/.test(prefix) && Number(prefix) <= longest;
}

/** "base=10.0.0.0/8,size=24" flags, or objects of the file. */
function addressPools(value: unknown): { base: string; size: number }[] {
  if (value === undefined) return [];
  return (value as unknown[]).map((entry) => {
    const fields =
      typeof entry === "string"
        ? Object.fromEntries(entry.split(",").map((part) => part.split("=")))
        : (entry as Record<string, unknown>);
    const pool = { base: String(fields.base ?? ""), size: Number(fields.size) };
    if (!isCidr(pool.base) || !Number.isInteger(pool.size)) {
      throw invalid(`invalid default address pool: ${JSON.stringify(entry)}`, "default-address-pools");
    }
    return pool;
  });
}

/** "nofile=1024:2048" flags, or { nofile: { Name, Soft, Hard } } of the file. */
function ulimits(value: unknown): { Name: string; Soft: number; Hard: number }[] {
  if (value === undefined) return [];
  if (!Array.isArray(value))
    return Object.values(value as Record<string, { Name: string; Soft: number; Hard: number }>);
  return value.map((entry: string) => {
    const match = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(entry);
    if (match === null) throw invalid(`invalid ulimit argument: ${entry}`, entry);
    return { Name: match[1] ?? "", Soft: Number(match[2]), Hard: Number(match[3] ?? match[2]) };
  });
}

/** Flags, `proxies` of the file ({ "http-proxy": … }), or the environment, each setting by itself. */
function proxy(raw: RawConfig): DaemonConfig["proxy"] {
  const section = (raw.proxies ?? {}) as Record<string, unknown>;
  const read = (key: string, variable: string): string => {
    const value =
      raw[key] ?? section[key] ?? process.env[variable] ?? process.env[variable.toLowerCase()] ?? "";
    if (typeof value === "string") return value;
    throw invalid(`invalid value for proxies.${key}: it must be a string`, key);
  };
  return {
    http: proxyAddress(read("http-proxy", "HTTP_PROXY")),
    https: proxyAddress(read("https-proxy", "HTTPS_PROXY")),
    no: read("no-proxy", "NO_PROXY"),
  };
}

/** "proxy:3128" means http, as in Go. What is wrong is not shown: it may hold a password. */
function proxyAddress(text: string): string {
  const address = text === "" || text.includes("://") ? text : `http://${text}`;
  const url = URL.parse(address);
  if (address === "" || (url !== null && /^https?:$/.test(url.protocol))) return address;
  throw invalid("invalid proxy address: it must be http://host:port or https://host:port", "proxies");
}

const UNITS: Record<string, number> = { "": 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

function size(text: string): number {
  const match = /^(\d+)([bkmg]?)b?$/i.exec(text);
  if (match === null) throw invalid(`invalid size: '${text}'`, text);
  return Number(match[1]) * (UNITS[(match[2] ?? "").toLowerCase()] ?? 1);
}

function invalid(message: string, object: string): BerthError {
  return new BerthError("invalid", message, { operation: "configure daemon", object });
}
