/** Checks of single flag values of `run` and `create`; each gives the value as the request wants it, or throws. */
import { isIP } from "node:net";

export function checkAttach(text: string): string {
  const stream = text.toLowerCase();
  if (!["stdin", "stdout", "stderr"].includes(stream))
    throw new Error("valid streams are STDIN, STDOUT and STDERR");
  return stream;
}

export function checkEnvironment(text: string): string {
  if (text.startsWith("=") || text === "") throw new Error(`invalid environment variable: ${text}`);
  return text;
}

export function checkLabel(text: string): string {
  if (text.startsWith("=")) throw new Error(`invalid label '${text}': empty name`);
  return text;
}

export function checkIp(text: string): string {
  if (isIP(text.trim()) === 0) throw new Error(`IP address is not correctly formatted: ${text}`);
  return text.trim();
}

/** "container" or "container:alias". */
export function checkLink(text: string): string {
  if (text === "") throw new Error("empty string specified for links");
  if (text.split(":").length > 2) throw new Error(`bad format for links: ${text}`);
  return text;
}

/** "name:address" or "name=address", the address of version 6 also in brackets; given as "name:address". */
export function checkExtraHost(text: string): string {
  const match = /^([^=:]+)[=:](.+)$/s.exec(text);
  if (!match) throw new Error(`bad format for add-host: "${text}"`);
  const [, name, given = ""] = match;
  if (given === "host-gateway") return `${name}:${given}`;
  const address = given.replace(/^\[(.*)\]$/, "$1");
  if (isIP(address) === 0) throw new Error(`invalid IP address in add-host: "${given}"`);
  return `${name}:${address}`;
}

/** Kernel parameters that belong to a namespace (sysctl(5)); any other would change the host. */
const namespacedSysctls = new Set(
  ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"].map(
    (name) => `kernel.${name}`,
  ),
);

export function checkSysctl(text: string): string {
  const [name = ""] = text.split("=", 1);
  const known = namespacedSysctls.has(name) || name.startsWith("net.") || name.startsWith("fs.mqueue.");
  if (!known || !text.includes("=")) throw new Error(`sysctl '${text}' is not allowed`);
  return text;
}

/** "name=value" entries as an object; a name alone has the value "". */
export function keyValues(entries: readonly string[]): Record<string, string> {
  const result: Record<string, string> = {};
  for (const entry of entries) {
    const equals = entry.indexOf("=");
    if (equals < 0) result[entry] = "";
    else result[entry.slice(0, equals)] = entry.slice(equals + 1);
  }
  return result;
}

export function checkDeviceRule(rule: string): string {
  if (/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(rule)) return rule;
  throw new Error(`invalid device cgroup format '${rule}'`);
}
