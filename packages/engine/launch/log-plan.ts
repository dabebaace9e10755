/** What is done with a container's output, by its HostConfig: the engine's side of packages/logs. */

import { existsSync } from "node:fs";
import type { HostConfig } from "#api-types/container.ts";
import { containerDirectory } from "#engine/containers/container-paths.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import { BerthError } from "#errors/errors.ts";
import { parseBoolean } from "#go-values/boolean.ts";
import { type ContainerLogs, containerLogs, JOURNAL_SOCKET, logLocation } from "#logs/container-logs.ts";
import type { LogLocation } from "#logs/log-types.ts";
import { checkLogOptions, LOG_DRIVERS } from "#logs/options/known-options.ts";
import { LogOptionError } from "#logs/options/option-values.ts";
import type { LogPlan } from "#runtime/launch-types.ts";

type Roots = { dataRoot: string; execRoot: string };

/** Throws "invalid" for a driver or an option that isn't there, and for values that Docker refuses this early. */
export function checkLogDriver(hostConfig: HostConfig): void {
  const driver = driverOf(hostConfig);
  try {
    checkLogOptions(driver, hostConfig.LogConfig?.Config ?? {});
  } catch (error) {
    if (!(error instanceof LogOptionError)) throw error;
    const known = LOG_DRIVERS.includes(driver);
    throw new BerthError("invalid", error.message, {
      operation: "create container",
      object: driver,
      ...(known ? {} : { hint: `use one of none, ${LOG_DRIVERS.join(", ")}` }),
    });
  }
}

/** The daemon's own default. Throws "invalid". */
export function checkDefaultLogDriver(driver: string, options: Record<string, string>): void {
  try {
    checkLogOptions(driver, options);
  } catch (error) {
    if (!(error instanceof LogOptionError)) throw error;
    throw new BerthError("invalid", `failed to set log opts: ${error.message}`, {
      operation: "start daemon",
      object: driver,
    });
  }
}

/** undefined for driver none. Throws "internal", as Docker, for what only shows when the container starts. */
export function planLogs(record: ContainerRecord, roots: Roots): ContainerLogs | undefined {
  const { config, hostConfig } = record;
  const driver = driverOf(hostConfig);
  const options = hostConfig.LogConfig?.Config ?? {};
  const directory = containerDirectory(roots, record.id);
  const info = {
    id: record.id,
    name: record.name,
    imageId: record.imageId,
    imageName: record.imageName,
    path: record.path,
    args: record.args,
    created: record.created,
    env: config.Env ?? [],
    labels: config.Labels ?? {},
    logPath: inspectedLogPath(record, roots),
  };
  try {
    return containerLogs(driver, options, info, directory);
  } catch (error) {
    if (!(error instanceof LogOptionError)) throw error;
    throw loggerFailed(record, error.message);
  }
}

/** Throws if the machine lacks what the driver wants; asked before a start. */
export function checkLogHost(record: ContainerRecord): void {
  if (driverOf(record.hostConfig) === "journald" && !existsSync(JOURNAL_SOCKET))
    throw loggerFailed(record, "journald is not enabled on this host");
}

/** For the compiler. */
export function logPlan(logs: ContainerLogs | undefined): LogPlan {
  if (logs === undefined) return { format: "none", path: "", attrs: "" };
  const { log, files, attributes, shimFiles } = logs;
  const path = `${log.directory}/${log.name}`;
  return {
    format: log.form,
    path,
    attrs: attributes,
    ...(files.limit === undefined ? {} : { rotation: { limit: files.limit, files: shimFiles } }),
  };
}

/** The files `docker logs` reads. Throws "not-implemented" where there are none to be read. */
export function readableLog(record: ContainerRecord, roots: Roots): LogLocation {
  const driver = driverOf(record.hostConfig);
  const location = logLocation(driver, record.id, containerDirectory(roots, record.id));
  const disabled = LOG_DRIVERS.includes(driver) && isCacheDisabled(driver, record.hostConfig);
  if (location !== undefined && !disabled) return location;
  throw new BerthError("not-implemented", "configured logging driver does not support reading", {
    operation: "read logs",
    object: record.name,
  });
}

/** What `docker inspect` shows: of the driver whose file is anybody's to read. */
export function inspectedLogPath(record: ContainerRecord, roots: Roots): string {
  if (driverOf(record.hostConfig) !== "json-file") return "";
  const location = logLocation("json-file", record.id, containerDirectory(roots, record.id));
  return location === undefined ? "" : `${location.directory}/${location.name}`;
}

function isCacheDisabled(driver: string, hostConfig: HostConfig): boolean {
  if (["json-file", "local", "journald"].includes(driver)) return false;
  return parseBoolean(hostConfig.LogConfig?.Config?.["cache-disabled"] ?? "") === true;
}

function driverOf(hostConfig: HostConfig): string {
  return hostConfig.LogConfig?.Type || "json-file";
}

function loggerFailed(record: ContainerRecord, reason: string): BerthError {
  return new BerthError("internal", `failed to initialize logging driver: ${reason}`, {
    operation: "start container",
    object: record.name,
  });
}
