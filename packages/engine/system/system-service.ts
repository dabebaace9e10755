/** `docker version`, `docker info`, `docker system df`. */
import { readdirSync } from "node:fs";
import { arch, hostname, totalmem } from "node:os";
import type { EngineContext } from "#engine/engine-context.ts";
import type { SystemService } from "#engine/engine-types.ts";
import { DiskUsageMeter } from "#engine/system/disk-usage.ts";
import { hostAbilities, hostWarnings, runtimes, storageWarnings } from "#engine/system/system-info.ts";
import { formatNanoseconds, nowNanoseconds } from "#engine/timestamps.ts";
import type { SystemFacts } from "#kernel/host-facts.ts";
import { LOG_DRIVERS } from "#logs/options/known-options.ts";

export const BERTH_VERSION = "0.1.0";

export class System implements SystemService {
  readonly #context: EngineContext;
  readonly #facts: SystemFacts;
  readonly #id: string;
  readonly #diskUsage: DiskUsageMeter;

  constructor(context: EngineContext, facts: SystemFacts, id: string) {
    this.#context = context;
    this.#facts = facts;
    this.#id = id;
    this.#diskUsage = new DiskUsageMeter(context);
  }

  async version(): Promise<Record<string, unknown>> {
    const details = { KernelVersion: this.#facts.kernelRelease, Os: "linux", Arch: goArchitecture() };
    return {
      Platform: { Name: "Berth" },
      Components: [
        {
          Name: "Engine",
          Version: BERTH_VERSION,
          // Those of a program in Go are looked for and have nothing to tell.
          Details: { ...details, GitCommit: "", GoVersion: "", BuildTime: "", NodeVersion: process.version },
        },
        { Name: "berth-oci", Version: BERTH_VERSION, Details: { GitCommit: "" } },
      ],
      Version: BERTH_VERSION,
      GitCommit: "",
      GoVersion: "",
      Os: "linux",
      Arch: goArchitecture(),
      KernelVersion: this.#facts.kernelRelease,
      BuildTime: "",
    };
  }

  async info(): Promise<Record<string, unknown>> {
    const { config, storage, images, containers, cgroups, limits } = this.#context;
    const driverStatus = await storage.status();
    const warnings = [...storageWarnings(storage.name, driverStatus), ...hostWarnings(this.#context)];
    const all = containers.all();
    const count = (status: string) => all.filter(({ record }) => record.state.Status === status).length;
    const running = all.filter(({ record }) => record.state.Running && !record.state.Paused).length;
    return {
      ID: this.#id,
      Name: hostname(),
      ServerVersion: BERTH_VERSION,
      Containers: all.length,
      ContainersRunning: running,
      ContainersPaused: count("paused"),
      ContainersStopped: all.length - running - count("paused"),
      Images: images.count(),
      Driver: storage.name,
      DriverStatus: driverStatus,
      DockerRootDir: config.dataRoot,
      Plugins: {
        Volume: this.#context.volumes.drivers(),
        Network: ["bridge", "host", "null"],
        Authorization: config.authorizationPlugins.length > 0 ? config.authorizationPlugins : null,
        Log: LOG_DRIVERS,
      },
      ...hostAbilities(this.#context),
      Debug: config.debug,
      NFd: openDescriptors(),
      // What keeps the event loop waiting is what comes nearest.
      NGoroutines: process.getActiveResourcesInfo().length,
      NEventsListener: this.#context.events.listeners,
      SystemTime: formatNanoseconds(nowNanoseconds()),
      LoggingDriver: config.logDriver,
      CgroupDriver: "cgroupfs",
      CgroupVersion: String(cgroups.version),
      KernelVersion: this.#facts.kernelRelease,
      OperatingSystem: this.#facts.operatingSystem,
      OSVersion: this.#facts.osRelease.VERSION_ID ?? "",
      OSType: "linux",
      Architecture: this.#facts.machine,
      NCPU: limits.cpus,
      MemTotal: totalmem(),
      IndexServerAddress: "https://index.docker.io/v1/",
      RegistryConfig: registryConfig(config.insecureRegistries, config.registryMirrors),
      GenericResources: null,
      HttpProxy: withoutCredentials(config.proxy.http),
      HttpsProxy: withoutCredentials(config.proxy.https),
      NoProxy: config.proxy.no,
      Labels: config.labels,
      ExperimentalBuild: config.experimental,
      Runtimes: runtimes(),
      DefaultRuntime: "berth",
      // Containers always outlive the daemon.
      LiveRestoreEnabled: true,
      Swarm: {
        NodeID: "",
        NodeAddr: "",
        LocalNodeState: "inactive",
        ControlAvailable: false,
        Error: "",
        RemoteManagers: null,
      },
      Isolation: "",
      InitBinary: "docker-init",
      // dockerd's word for what there is none of to ask.
      ContainerdCommit: { ID: "N/A" },
      RuncCommit: { ID: BERTH_VERSION },
      InitCommit: { ID: BERTH_VERSION },
      SecurityOptions: [
        `name=seccomp,profile=${config.seccompProfile || "builtin"}`,
        ...(this.#context.idMap === undefined ? [] : ["name=userns"]),
        ...(cgroups.version === 2 ? ["name=cgroupns"] : []),
      ],
      Warnings: warnings.length > 0 ? warnings : null,
      ProductLicense: "Apache License 2.0",
      ...(config.iptables && { FirewallBackend: { Driver: config.firewallBackend } }),
      CDISpecDirs: [],
      DefaultAddressPools: config.defaultAddressPools.map(({ base, size }) => ({ Base: base, Size: size })),
    };
  }

  async diskUsage(types: string[]): Promise<Record<string, unknown>> {
    return { ...(await this.#diskUsage.read(types)) };
  }

  async pruneBuildCache(): Promise<{ CachesDeleted: string[] | null; SpaceReclaimed: number }> {
    this.#context.events.publish("builder", "prune", "", { reclaimed: "0" });
    return { CachesDeleted: null, SpaceReclaimed: 0 };
  }

  async authenticate(auth: Record<string, string>): Promise<{ Status: string; IdentityToken: string }> {
    return this.#context.images.registries.logIn(auth);
  }
}

function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** Go's names for architectures, which Docker's JSON uses. */
function goArchitecture(): string {
  return arch() === "x64" ? "amd64" : arch();
}

/** Docker shows that a proxy has credentials, not which. */
function withoutCredentials(address: string): string {
  return address.replace(/^([a-z]+:\/\/)[^@/]*@/i, "$1xxxxx:xxxxx@");
}

function registryConfig(insecure: string[], mirrors: string[]): Record<string, unknown> {
  const ranges = insecure.filter((entry) => entry.includes("/"));
  const hosts = insecure.filter((entry) => !entry.includes("/"));
  return {
    InsecureRegistryCIDRs: ["::1/128", "127.0.0.0/8", ...ranges],
    IndexConfigs: {
      "docker.io": { Name: "docker.io", Mirrors: mirrors, Secure: true, Official: true },
      ...Object.fromEntries(
        hosts.map((Name) => [Name, { Name, Mirrors: [], Secure: false, Official: false }]),
      ),
    },
    Mirrors: mirrors.length > 0 ? mirrors : null,
  };
}
