/** The daemon's composition root: makes every part, joins them, starts and stops them in order. */
import { randomUUID } from "node:crypto";
import { accessSync, constants, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Authorization } from "#api/authorization.ts";
import { createApiServer } from "#api/server.ts";
import type { DaemonConfig } from "#config/config-types.ts";
import { loadConfig } from "#config/load-config.ts";
import { createLogger } from "#config/logger.ts";
import { reloadConfig } from "#config/reload-config.ts";
import { readTlsFiles } from "#config/tls-files.ts";
import { Containers } from "#engine/containers/container-service.ts";
import { ContainerStore } from "#engine/containers/container-store.ts";
import { watchForOom } from "#engine/containers/oom-watch.ts";
import { recoverContainers } from "#engine/containers/recover.ts";
import { imagesInUse } from "#engine/containers/remove.ts";
import { BackgroundWork, type EngineContext } from "#engine/engine-context.ts";
import type { Engine } from "#engine/engine-types.ts";
import { publishReload } from "#engine/events/daemon-events.ts";
import { EventBus } from "#engine/events/event-bus.ts";
import { ExecRegistry } from "#engine/exec/exec.ts";
import { ContainerFileService } from "#engine/files/file-service.ts";
import { LaunchQueue } from "#engine/launch/launch-queue.ts";
import { checkDefaultLogDriver } from "#engine/launch/log-plan.ts";
import { readDefaultProfile } from "#engine/launch/seccomp-choice.ts";
import { LONGEST_TIMER_MS } from "#engine/longest-timer.ts";
import { Networks } from "#engine/networking/network-service.ts";
import { SerialQueue } from "#engine/serial-queue.ts";
import { BERTH_VERSION, System } from "#engine/system/system-service.ts";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { createImageService } from "#images/image-service.ts";
import { hasBlockWeights, hasRealtimeShares, hasSwapAccounting } from "#kernel/cgroup-features.ts";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { writeDurably } from "#kernel/durable-file.ts";
import { readHostFacts, readSystemFacts } from "#kernel/host-facts.ts";
import { LogService } from "#logs/log-service.ts";
import { createNetworkController } from "#networks/controller.ts";
import { RESOLVER_TCP_FD, RESOLVER_UDP_FD } from "#networks/dns/resolver-program.ts";
import { Plugins } from "#plugins/plugins.ts";
import { createLauncherClient } from "#program/launcher-client.ts";
import { giveRealtime, prepareParentGroup } from "#runtime/cgroups/parent-group.ts";
import { ContainerFiles } from "#storage/files/container-files.ts";
import { HeldLayers } from "#storage/hold-layers.ts";
import { openStorageDriver } from "#storage/open-driver.ts";
import { type IdMap, rootOf } from "#storage/unpack/id-map.ts";
import { createLayerUnpacker } from "#storage/unpack/layer-unpacker.ts";
import { keepThreadReady } from "#storage/worker/worker-threads.ts";
import { createVolumeService } from "#volumes/volume-service.ts";
import {
  askAuthorizationPlugins,
  checkAuthorizationPlugins,
  tellOfMissing,
} from "./authorization-plugins.ts";
import { collectInQuiet } from "./collect-in-quiet.ts";
import { lockDataRoot } from "./data-root-lock.ts";
import { launcherPath } from "./launcher-path.ts";
import { engineIdFile, openState } from "./open-state.ts";
import { PidFile } from "./pid-file.ts";
import { makeRemappedRoot, readRemap, remappedRoots } from "./remapped-root.ts";

/** Runs until a signal ends it. Containers go on: nothing here owns them. */
export async function runDaemon(config: DaemonConfig, warnings: string[]): Promise<void> {
  const logger = createLogger({
    get level() {
      return config.debug ? "debug" : config.logLevel;
    },
    format: config.logFormat,
  });
  for (const warning of warnings) logger.warn(warning);
  checkDefaultLogDriver(config.logDriver, config.logOpts);
  const idMap = readRemap(config.usernsRemap, logger);
  // In place: the log goes by it as well.
  Object.assign(config, remappedRoots(config, idMap));
  if (idMap !== undefined) makeRemappedRoot(config.dataRoot, idMap);
  const tls = readTlsFiles(config);
  makeRoots(config);
  const pidFile = new PidFile(config.pidfile);
  const lock = lockDataRoot(config.dataRoot);
  const daemon = await compose(config, idMap, logger);
  const address = await daemon.server.listen(config.hosts, {
    group: config.group,
    allowInsecureTcp: config.insecureTcp,
    ...(tls && { tls }),
  });
  logger.info("Berth is ready", { version: BERTH_VERSION, address: address.join(" ") });
  // Later: who waits for the daemon comes first.
  setTimeout(keepThreadReady, 1000).unref();
  // One after another: what an earlier one has read must not come into force behind a later one's.
  const reloads = new SerialQueue();
  process.on("SIGHUP", () => {
    void reloads.run(() => reload(daemon.context, daemon.plugins, daemon.id));
  });
  await ending(logger);
  await daemon.server.close(Math.min(config.shutdownTimeout * 1000, LONGEST_TIMER_MS));
  await daemon.context.background.drain();
  await daemon.stop();
  lock.close();
  pidFile.remove();
  process.exit(0);
}

async function compose(config: DaemonConfig, idMap: IdMap | undefined, logger: Logger) {
  const owner = idMap && rootOf(idMap);
  const database = openState(config.dataRoot, logger);
  const facts = readSystemFacts();
  const cgroups = readCgroupLayout();
  const events = new EventBus();
  const storage = openStorageDriver({
    dataRoot: config.dataRoot,
    name: config.storageDriver,
    options: config.storageOpts,
    logger,
    unionSocket: join(config.execRoot, "union.sock"),
    ...(owner && { owner }),
  });
  const unpacker = createLayerUnpacker({
    limits: { size: config.maxLayerSize, ratio: config.maxLayerRatio },
    idMap,
  });
  const files = new ContainerFiles(idMap);
  const images = createImageService({
    database,
    storage,
    unpacker,
    options: config,
    onEvent: (action, id, attributes) => events.publish("image", action, id, attributes),
    log: logger,
  });
  // Docker's places, and the same beside our own sockets and configuration.
  const plugins = new Plugins({
    sockets: [join(config.execRoot, "plugins"), "/run/docker/plugins"],
    specs: [
      join(dirname(config.configFile), "plugins"),
      "/etc/docker/plugins",
      "/usr/lib/berth/plugins",
      "/usr/lib/docker/plugins",
    ],
  });
  const volumes = createVolumeService({
    database,
    dataRoot: config.dataRoot,
    ...(owner && { owner }),
    logger,
    plugins,
    onEvent: (action, name, attributes) => events.publish("volume", action, name, attributes),
  });
  const networks = createNetworkController(database, config, logger, {
    plugins,
    launcherPath: launcherPath(),
    keepSockets: (containerId, { udp, tcp }) => {
      const shim = context.containers.find(containerId)?.live?.shim;
      shim?.keep(udp, RESOLVER_UDP_FD);
      shim?.keep(tcp, RESOLVER_TCP_FD);
    },
  });
  const launcher = createLauncherClient({
    launcherPath: launcherPath(),
    socketPath: join(config.execRoot, "launcher.sock"),
  });
  const context: EngineContext = {
    config,
    logger,
    database,
    storage,
    held: new HeldLayers(storage),
    files,
    images,
    networks,
    volumes,
    logs: new LogService(logger),
    launcher,
    launches: new LaunchQueue(),
    launcherPath: launcherPath(),
    events,
    containers: new ContainerStore(database),
    execs: new Map(),
    idMap,
    defaultSeccomp: readDefaultProfile(config.seccompProfile),
    cgroups,
    host: readHostFacts(),
    limits: {
      cpus: facts.cpus,
      cgroupVersion: cgroups.version,
      swapLimit: hasSwapAccounting(cgroups),
      memoryNodes: facts.memoryNodes,
      blkioWeight: hasBlockWeights(cgroups),
      cpuRealtime: hasRealtimeShares(cgroups),
      runtime: config.defaultRuntime,
      cgroupParent: config.cgroupParent,
      // As the configuration has them now: it may be reloaded.
      get defaultShmSize() {
        return config.defaultShmSize;
      },
      get defaultIpcMode() {
        return config.defaultIpcMode;
      },
      get defaultCgroupnsMode() {
        return config.defaultCgroupnsMode;
      },
      get logDriver() {
        return config.logDriver;
      },
      get logOpts() {
        return config.logOpts;
      },
      get init() {
        return config.init;
      },
    },
    background: new BackgroundWork(logger),
  };
  prepareParentGroup(cgroups);
  giveRealtime(cgroups, { period: config.cpuRtPeriod, runtime: config.cpuRtRuntime });
  await launcher.ensureZygote();
  await storage.start?.();
  await Promise.all([images.start(), volumes.start(), networks.start()]);
  await recoverContainers(context);
  await storage.releaseUnheld?.();
  const stopOomWatch = watchForOom(context);
  await images.collect(imagesInUse(context));
  // What the database does not know may be what it has lost.
  if (!database.keepsDamaged) {
    await storage.reconcile(new Set([...images.cacheIds(), ...context.containers.storedIds()]));
  }
  const id = stableId(config.dataRoot);
  const engine: Engine = {
    containers: new Containers(context),
    execs: new ExecRegistry(context),
    files: new ContainerFileService(context),
    images,
    networks: new Networks(context),
    volumes,
    events,
    system: new System(context, facts, id),
  };
  const server = createApiServer({
    engine,
    logger,
    productVersion: BERTH_VERSION,
    experimental: config.experimental,
    onAnswered: collectInQuiet(),
    authorization: new Authorization({
      names: config.authorizationPlugins,
      ask: askAuthorizationPlugins(plugins),
      logger,
    }),
  });
  tellOfMissing(plugins, config.authorizationPlugins, logger);
  return {
    context,
    plugins,
    id,
    server,
    stop: async () => {
      await context.logs.close();
      stopOomWatch();
      await networks.stop();
      await images.stop();
      await unpacker.close();
      await files[Symbol.asyncDispose]();
      await storage.close();
      database[Symbol.dispose]();
    },
  };
}

function makeRoots(config: DaemonConfig): void {
  // 0710: nobody but root lists them (a world-readable data root was CVE-2021-41091).
  makeRoot("data-root", config.dataRoot, ["containers"], 0o710);
  makeRoot("exec-root", config.execRoot, ["containers", "execs"], 0o711);
}

function makeRoot(option: string, root: string, names: readonly string[], mode: number): void {
  try {
    for (const name of ["", ...names]) mkdirSync(join(root, name), { recursive: true, mode });
    accessSync(root, constants.W_OK);
  } catch (cause) {
    const { code = "" } = cause as NodeJS.ErrnoException;
    // Where nothing can be made, mkdir tells "no such file" of a directory whose parent is there.
    const reason =
      code === "ENOENT" ? "its directories cannot be made" : String(cause).replace(/^Error: /, "");
    throw new BerthError("unavailable", `cannot use --${option} ${root}: ${reason}`, {
      operation: "start",
      object: root,
      hint: "it has to be on a file system that is mounted for writing and has room",
      cause,
    });
  }
}

/** The daemon's id in `docker info`, made once. */
function stableId(dataRoot: string): string {
  const path = engineIdFile(dataRoot);
  const stored = existsSync(path) ? readFileSync(path, "utf8").trim() : "";
  if (/^[\w-]{8,64}$/.test(stored)) return stored;
  const id = randomUUID();
  writeDurably(path, id, 0o644);
  return id;
}

/** SIGHUP: the command line and the file are read again. A file that is wrong changes nothing. */
async function reload(context: EngineContext, plugins: Plugins, id: string): Promise<void> {
  const { config, logger, images } = context;
  logger.info("reading the configuration again", { file: config.configFile });
  try {
    const loaded = loadConfig(process.argv.slice(2));
    if (!("config" in loaded)) return;
    for (const warning of loaded.warnings) logger.warn(warning);
    checkDefaultLogDriver(loaded.config.logDriver, loaded.config.logOpts);
    const added = loaded.config.authorizationPlugins.filter(
      (name) => !config.authorizationPlugins.includes(name),
    );
    await checkAuthorizationPlugins(plugins, added);
    const { changed, waiting } = reloadConfig(config, remappedRoots(loaded.config, context.idMap));
    if (waiting.length > 0) {
      logger.warn("changes that wait for the daemon's next start", { options: waiting.join(", ") });
    }
    images.reload();
    logger.info("the configuration has been reloaded", { changed: changed.join(", ") });
    publishReload(context, id);
  } catch (error) {
    logger.error("the configuration is left as it was", {
      reason: error instanceof Error ? error.message : String(error),
    });
  }
}

function ending(logger: Logger): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.once(signal, () => {
        logger.info("ending; containers go on", { signal });
        resolve();
      });
    }
  });
}
