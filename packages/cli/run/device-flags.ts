/** --device and --gpus. */
import type { DeviceMapping } from "#api-types/container.ts";
import { parseCsvLine } from "#cli/csv.ts";

export interface DeviceRequest {
  Driver: string;
  Count: number;
  DeviceIDs: string[] | null;
  Capabilities: string[][] | null;
  Options: Record<string, string> | null;
}

/** A device of the Container Device Interface: vendor/class=name. */
export function isCdiDevice(text: string): boolean {
  return /^[A-Za-z][\w.-]*[A-Za-z0-9]\/[A-Za-z][\w-]*=[A-Za-z0-9][\w.:-]*$/.test(text);
}

/** "/dev/null", "/dev/sda:/dev/xvda", "/dev/sda:/dev/xvda:r", "/dev/null:r". Throws Error with Docker's text. */
export function parseDevice(text: string): DeviceMapping {
  const parts = text.split(":");
  const [PathOnHost = "", second = "", third = ""] = parts;
  const isMode = (mode: string) => /^[rwm]{1,3}$/.test(mode) && new Set(mode).size === mode.length;
  if (parts.length > 3 || PathOnHost === "") throw new Error(`bad format for path: ${text}`);
  const modeOnly = parts.length === 2 && isMode(second);
  const PathInContainer = modeOnly || second === "" ? PathOnHost : second;
  const CgroupPermissions = modeOnly ? second : parts.length === 3 ? third : "rwm";
  if (parts.length === 3 && !isMode(third)) throw new Error(`bad mode specified: ${third}`);
  if (!PathInContainer.startsWith("/")) throw new Error(`${PathInContainer} is not an absolute path`);
  return { PathOnHost, PathInContainer, CgroupPermissions };
}

/** "all", "2", "device=0", '"device=0,1",capabilities=compute'. Throws Error. */
export function parseGpus(text: string): DeviceRequest {
  const request: DeviceRequest = { Driver: "", Count: 0, DeviceIDs: null, Capabilities: null, Options: {} };
  const seen = new Set<string>();
  for (const field of parseCsvLine(text)) {
    const equals = field.indexOf("=");
    const key = equals < 0 ? "count" : field.slice(0, equals);
    const value = field.slice(equals + 1);
    if (key === "count") request.Count = count(value);
    else if (key === "device") request.DeviceIDs = value.split(",");
    else if (key === "driver") request.Driver = value;
    else if (key === "capabilities") request.Capabilities = [[...value.split(","), "gpu"]];
    else if (key === "options") {
      for (const option of parseCsvLine(value)) {
        const [name = "", ...rest] = option.split("=");
        request.Options = { ...request.Options, [name]: rest.join("=") };
      }
    } else throw new Error(`unexpected key '${key}' in '${field}'`);
    if (seen.has(key)) throw new Error(`gpu request key '${key}' can be specified only once`);
    seen.add(key);
  }
  if (!seen.has("count") && request.DeviceIDs === null) request.Count = 1;
  request.Capabilities ??= [["gpu"]];
  return request;
}

function count(text: string): number {
  if (text === "all") return -1;
  if (/^[+-]?\d+$/.test(text)) return Number(text);
  throw new Error(`invalid count (${text}): value must be either "all" or an integer: invalid syntax`);
}
