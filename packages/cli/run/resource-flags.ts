/** --ulimit and the block I/O flags. */
import { parseMemory } from "#cli/sizes.ts";

export interface Ulimit {
  Name: string;
  Hard: number;
  Soft: number;
}

/** Names of getrlimit(2), as limits.conf(5) spells them. */
const ulimits = [
  ..."core cpu data fsize locks memlock msgqueue nice nofile".split(" "),
  ..."nproc rss rtprio rttime sigpending stack".split(" "),
];

/** "nofile=1024:2048"; one number is both limits. */
export function parseUlimit(text: string): Ulimit {
  const match = /^([^=]*)=(.*)$/s.exec(text);
  if (!match) throw new Error(`invalid ulimit argument: ${text}`);
  const [, name = "", limits = ""] = match;
  if (!ulimits.includes(name)) throw new Error(`invalid ulimit type: ${name}`);
  const parts = limits.split(":");
  if (parts.length > 2)
    throw new Error(`too many limit value arguments - ${limits}, can only have up to two, \`soft[:hard]\``);
  const [soft = 0, hard = soft] = parts.map(limit);
  if (hard !== -1 && (soft > hard || soft === -1))
    throw new Error(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`);
  return { Name: name, Hard: hard, Soft: soft };
}

function limit(text: string): number {
  if (!/^[+-]?\d+$/.test(text)) throw new Error(`strconv.ParseInt: parsing "${text}": invalid syntax`);
  return Number(text);
}

function deviceAnd(text: string): [path: string, value: string] {
  const match = /^([^:]+):(.*)$/s.exec(text);
  if (!match) throw new Error(`bad format: ${text}`);
  const [, path = "", value = ""] = match;
  if (!path.startsWith("/dev/")) throw new Error(`bad format for device path: ${text}`);
  return [path, value];
}

/** "/dev/sda:500" */
export function parseWeightDevice(text: string): { Path: string; Weight: number } {
  const [Path, value] = deviceAnd(text);
  const Weight = Number(value);
  if (!/^\d+$/.test(value) || Weight > 65535 || (Weight > 0 && (Weight < 10 || Weight > 1000)))
    throw new Error(`invalid weight for device: ${text}`);
  return { Path, Weight };
}

/** "/dev/sda:1mb" */
export function parseThrottleRate(text: string): { Path: string; Rate: number } {
  const [Path, value] = deviceAnd(text);
  const form = "The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer.";
  try {
    return { Path, Rate: parseMemory(value) };
  } catch {
    // Docker's text says the format instead of what was wrong with the number.
    throw new Error(`invalid rate for device: ${text}. ${form} Unit is optional and can be kb, mb, or gb`);
  }
}

/** "/dev/sda:1000" */
export function parseThrottleIops(text: string): { Path: string; Rate: number } {
  const [Path, value] = deviceAnd(text);
  const form = "The correct format is <device-path>:<number>. Number must be a positive integer";
  if (!/^\d+$/.test(value)) throw new Error(`invalid rate for device: ${text}. ${form}`);
  return { Path, Rate: Number(value) };
}
