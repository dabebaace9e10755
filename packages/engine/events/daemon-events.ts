/** Events about the daemon itself, with Docker's attributes. */
import { hostname } from "node:os";
import type { EngineContext } from "#engine/engine-context.ts";

/** The configuration has been read again: told is what is in force now. */
export function publishReload(context: EngineContext, daemonId: string): void {
  const { config } = context;
  context.events.publish("daemon", "reload", daemonId, {
    "allow-nondistributable-artifacts": "[]",
    debug: String(config.debug),
    "default-cgroupns-mode":
      config.defaultCgroupnsMode || (context.cgroups.version === 2 ? "private" : "host"),
    "default-ipc-mode": config.defaultIpcMode,
    "default-runtime": config.defaultRuntime,
    "default-shm-size": String(config.defaultShmSize),
    "insecure-registries": JSON.stringify(config.insecureRegistries),
    labels: JSON.stringify(config.labels),
    "live-restore": String(config.liveRestore),
    "log-level": config.logLevel,
    "max-concurrent-downloads": String(config.maxConcurrentDownloads),
    "max-concurrent-uploads": String(config.maxConcurrentUploads),
    "max-download-attempts": String(config.maxDownloadAttempts),
    name: hostname(),
    "registry-mirrors": JSON.stringify(config.registryMirrors),
    "shutdown-timeout": String(config.shutdownTimeout),
  });
}
