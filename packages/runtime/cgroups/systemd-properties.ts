/**
 * Resources of a container as properties of a systemd unit (systemd.resource-control(5), org.freedesktop.systemd1(5)).
 * Pure. systemd writes what it knows again whenever it reloads, so it has to know the limits; what it has no property
 * for is written into the group beside it.
 */
import { BerthError } from "#errors/errors.ts";
import type { ScopeUnit } from "#runtime/cgroups/container-cgroup.ts";
import { type DbusValue, type DbusVariant, variant } from "#runtime/cgroups/dbus-codec.ts";
import { weightFromShares } from "#runtime/cgroups/limits-v2.ts";
import type { SpecDeviceRule, SpecResources } from "#runtime/spec-types.ts";

export type UnitProperty = readonly [name: string, value: DbusVariant];

/** Versions of systemd that brought a property. */
const SINCE = { quotaPeriod: 242, cpusets: 244 };
const USUAL_PERIOD_US = 100_000;
/** systemd counts CPU time in whole percents. */
const PERCENT_US = 10_000;
const INFINITY = 0xffff_ffff_ffff_ffffn;
const ANNOTATION = "org.systemd.property.";

export interface Systemd {
  /** 252; 0 if it doesn't tell. */
  version: number;
  cgroupVersion: 1 | 2;
  /** Text of /proc/devices, for rules that are for all of a driver's devices. */
  procDevices: string;
}

/** Everything for StartTransientUnit: a scope around one process, in which the container may make groups itself. */
export function scopeProperties(
  unit: ScopeUnit,
  pid: number,
  id: string,
  annotations: Readonly<Record<string, string>> = {},
): UnitProperty[] {
  return [
    ["Description", variant("s", `Berth container ${id}`)],
    ["Slice", variant("s", unit.slice)],
    ["PIDs", variant("au", [pid])],
    ["Delegate", variant("b", true)],
    ["MemoryAccounting", variant("b", true)],
    ["CPUAccounting", variant("b", true)],
    ["IOAccounting", variant("b", true)],
    ["TasksAccounting", variant("b", true)],
    ["DefaultDependencies", variant("b", false)],
    ...annotationProperties(annotations),
  ];
}

/** Limits and devices, for a new unit or for one that runs. */
export function resourceProperties(resources: SpecResources, systemd: Systemd): UnitProperty[] {
  const { cpu = {}, memory = {}, pids, blockIO, devices, unified } = resources;
  const { cgroupVersion } = systemd;
  const properties: UnitProperty[] = devices?.length ? deviceProperties(devices, systemd) : [];
  const add = (name: string, value: number | bigint | undefined) => {
    if (value !== undefined) properties.push([name, variant("t", BigInt.asUintN(64, BigInt(value)))]);
  };
  add(cgroupVersion === 2 ? "MemoryMax" : "MemoryLimit", memory.limit || undefined);
  if (cgroupVersion === 2) {
    add("MemoryLow", memory.reservation || undefined);
    if (memory.swap && memory.swap > 0 && memory.limit) add("MemorySwapMax", memory.swap - memory.limit);
    else if (memory.swap === -1 || (memory.limit === -1 && !memory.swap)) add("MemorySwapMax", -1);
    if (cpu.shares && cpu.idle !== 1) add("CPUWeight", weightFromShares(cpu.shares));
    properties.push(...cpusets(cpu, systemd));
  } else {
    if (cpu.shares && cpu.idle !== 1) add("CPUShares", cpu.shares);
    add("BlockIOWeight", blockIO?.weight || undefined);
  }
  properties.push(...cpuQuota(cpu.quota, cpu.period, systemd));
  add("TasksMax", pids?.limit || undefined);
  if (cgroupVersion === 2)
    properties.push(...Object.entries(unified ?? {}).flatMap((entry) => unifiedProperties(entry, systemd)));
  return properties;
}

function cpuQuota(
  quota: number | undefined,
  period: number | undefined,
  { version }: Pick<Systemd, "version">,
): UnitProperty[] {
  if (!quota && !period) return [];
  const properties: UnitProperty[] = [];
  if (period && version >= SINCE.quotaPeriod)
    properties.push(["CPUQuotaPeriodUSec", variant("t", BigInt(period))]);
  const perSecond =
    quota && quota > 0
      ? Math.ceil(Math.floor((quota * 1_000_000) / (period || USUAL_PERIOD_US)) / PERCENT_US) * PERCENT_US
      : undefined;
  properties.push([
    "CPUQuotaPerSecUSec",
    variant("t", perSecond === undefined ? INFINITY : BigInt(perSecond)),
  ]);
  return properties;
}

function cpusets(
  { cpus, mems }: { cpus?: string | undefined; mems?: string | undefined },
  { version }: Pick<Systemd, "version">,
): UnitProperty[] {
  if (version < SINCE.cpusets) return [];
  return [
    ...(cpus ? [["AllowedCPUs", variant("ay", bits(cpus))] as const] : []),
    ...(mems ? [["AllowedMemoryNodes", variant("ay", bits(mems))] as const] : []),
  ];
}

/** "0-2,9" → one bit for each number, lowest first. */
export function bits(list: string): number[] {
  const bytes: number[] = [];
  for (const part of list.split(",")) {
    const [from = 0, to = from] = part.split("-").map(Number);
    for (let number = from; number <= to; number++) {
      const at = Math.floor(number / 8);
      while (bytes.length <= at) bytes.push(0);
      bytes[at] = (bytes[at] as number) | (1 << (number % 8));
    }
  }
  return bytes;
}

const UNIFIED: Record<string, string> = {
  "cpu.weight": "CPUWeight",
  "memory.high": "MemoryHigh",
  "memory.low": "MemoryLow",
  "memory.max": "MemoryMax",
  "memory.min": "MemoryMin",
  "memory.swap.max": "MemorySwapMax",
  "pids.max": "TasksMax",
};

/** Files without a property are only written. */
function unifiedProperties([file, text]: [string, string], systemd: Systemd): UnitProperty[] {
  const value = text.trim();
  if (file === "cpu.max") {
    const [quota, period] = value.split(/\s+/);
    return cpuQuota(quota === "max" ? undefined : Number(quota), Number(period) || USUAL_PERIOD_US, systemd);
  }
  if (file === "cpuset.cpus") return cpusets({ cpus: value }, systemd);
  if (file === "cpuset.mems") return cpusets({ mems: value }, systemd);
  const name = UNIFIED[file];
  if (name === undefined || !/^(max|\d+)$/.test(value)) return [];
  return [[name, variant("t", value === "max" ? INFINITY : BigInt(value))]];
}

/** A list of what is allowed is all there is; later refusals are left to the group's own filter or files. */
export function deviceProperties(
  rules: readonly SpecDeviceRule[],
  { procDevices }: Pick<Systemd, "procDevices">,
): UnitProperty[] {
  const everything = rules.findLastIndex(
    ({ type = "a", major = -1, minor = -1 }) => type === "a" && major < 0 && minor < 0,
  );
  if (rules[everything]?.allow) {
    return [
      ["DevicePolicy", variant("s", "auto")],
      ["DeviceAllow", variant("a(ss)", [])],
    ];
  }
  const drivers = parseProcDevices(procDevices);
  const allowed = rules
    .slice(everything + 1)
    .flatMap((rule) => (rule.allow ? deviceEntries(rule, drivers) : []));
  return [
    ["DevicePolicy", variant("s", "strict")],
    ["DeviceAllow", variant("a(ss)", allowed)],
  ];
}

function deviceEntries(
  { type = "a", major = -1, minor = -1, access }: SpecDeviceRule,
  drivers: ReadonlyMap<string, string>,
): [string, string][] {
  const kinds = type === "a" ? ["b", "c"] : [type === "u" ? "c" : type];
  return kinds.flatMap((kind): [string, string][] => {
    const word = kind === "b" ? "block" : "char";
    const letters = access || "rwm";
    if (major < 0) return [[`${word}-*`, letters]];
    if (minor >= 0) return [[`/dev/${word}/${major}:${minor}`, letters]];
    const driver = drivers.get(`${word} ${major}`);
    // Nobody serves that number: there is nothing to allow.
    return driver === undefined ? [] : [[`${word}-${driver}`, letters]];
  });
}

/** "char 136" → "pts". Two drivers can share a number; the first name will do, it stands for the number. */
function parseProcDevices(text: string): Map<string, string> {
  const drivers = new Map<string, string>();
  let word = "char";
  for (const line of text.split("\n")) {
    if (line.startsWith("Block")) word = "block";
    const [, number, name] = /^\s*(\d+)\s+(\S+)$/.exec(line) ?? [];
    const key = `${word} ${number}`;
    if (name !== undefined && !drivers.has(key)) drivers.set(key, name);
  }
  return drivers;
}

/** Annotations "org.systemd.property.<Name>", their values in the text form of GVariant. */
function annotationProperties(annotations: Readonly<Record<string, string>>): UnitProperty[] {
  return Object.entries(annotations).flatMap(([key, text]): UnitProperty[] => {
    if (!key.startsWith(ANNOTATION)) return [];
    const name = key.slice(ANNOTATION.length);
    const refuse = (why: string) =>
      new BerthError("invalid", `annotations[${JSON.stringify(key)}]: ${why}`, {
        operation: "describe systemd unit",
      });
    if (!/^[A-Za-z]{3,}$/.test(name)) throw refuse("not a property name");
    const value = parseGVariant(text);
    if (value === undefined) throw refuse(`cannot read the value ${JSON.stringify(text)}`);
    // Durations are set in seconds by people and in microseconds over the bus.
    if (!name.endsWith("Sec") || name.endsWith("USec")) return [[name, value]];
    const seconds = Number(value.value);
    if (!Number.isFinite(seconds)) throw refuse("not a number of seconds");
    return [[name.replace(/Sec$/, "USec"), variant("t", BigInt(Math.round(seconds * 1_000_000)))]];
  });
}

const INTEGERS: Record<string, string> = { int32: "i", uint32: "u", int64: "x", uint64: "t", byte: "y" };

/** Booleans, integers with and without their type, quoted texts, and lists of those. */
function parseGVariant(text: string): DbusVariant | undefined {
  const trimmed = text.trim();
  if (trimmed === "true" || trimmed === "false") return variant("b", trimmed === "true");
  const [, type, digits] = /^(?:(\w+) )?(-?\d+)$/.exec(trimmed) ?? [];
  if (digits !== undefined) {
    const signature = type === undefined ? "i" : INTEGERS[type];
    if (signature === undefined) return undefined;
    return variant(signature, "xt".includes(signature) ? BigInt(digits) : Number(digits));
  }
  const [, , quoted] = /^(['"])(.*)\1$/s.exec(trimmed) ?? [];
  if (quoted !== undefined) return variant("s", quoted.replace(/\\(.)/g, "$1"));
  const [, list] = /^\[(.*)\]$/s.exec(trimmed) ?? [];
  if (list === undefined) return undefined;
  const items = list.match(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,\s][^,]*/g) ?? [];
  const values = items.map(parseGVariant);
  const first = values[0];
  if (first === undefined || values.some((value) => value?.signature !== first.signature)) return undefined;
  return variant(
    `a${first.signature}`,
    values.map((value) => value?.value as DbusValue),
  );
}
