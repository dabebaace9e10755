/** Which log a container's shim writes, from its HostConfig. Pure. */
import type { HostConfig } from "#api-types/container.ts";
import { logPath } from "#engine/container-paths.ts";
import type { ContainerRecord } from "#engine/container-record.ts";
import { BerthError } from "#errors/errors.ts";
import type { LogPlan } from "#runtime/launch-types.ts";

const KNOWN = ["json-file", "none"];

/** Throws "invalid" for a driver or an option that isn't there. */
export function checkLogDriver(hostConfig: HostConfig): void {
  const driver = hostConfig.LogConfig?.Type ?? "json-file";
  if (!KNOWN.includes(driver)) {
    throw new BerthError("invalid", `logger: no log driver named '${driver}' is registered`, {
      operation: "create container",
      object: driver,
      hint: `use one of ${KNOWN.join(", ")}`,
    });
  }
}

export function logPlan(record: ContainerRecord, roots: { dataRoot: string; execRoot: string }): LogPlan {
  const driver = record.hostConfig.LogConfig?.Type ?? "json-file";
  return {
    format: driver === "none" ? "none" : "json-file",
    path: logPath(roots, record.id),
    attrs: "",
  };
}
