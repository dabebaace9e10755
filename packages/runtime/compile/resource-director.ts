/**
 * `linux.intelRdt` (config-linux.md, "IntelRdt"): the processor's shares of cache and memory bandwidth, by directories of
 * the resctrl file system. Without that mounted a configuration with it is an error. Pure.
 *
 * A `closID` is a group that may be shared with others and stays; without one the group has the container's name and
 * goes with it.
 */
import { BerthError } from "#errors/errors.ts";
import { ERRNO } from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import type { SpecIntelRdt } from "#runtime/spec-types.ts";

const DIRECTORY_MODE = 0o755;
const AT_FDCWD = -100;

/** Throws "invalid", naming the field. */
export function checkIntelRdt(rdt: SpecIntelRdt, host: HostFacts): void {
  const { closID } = rdt;
  if (closID !== undefined && (/^\.{1,2}$|\/|\0/.test(closID) || closID === ""))
    throw refuse(`intelRdt.closID: invalid ${JSON.stringify(closID)}`);
  for (const line of schemataOf(rdt)) {
    if (/[\n\0]/.test(line)) throw refuse("intelRdt.schemata: an entry is one line");
  }
  if (host.resctrl === undefined)
    throw refuse("intelRdt is specified in config, but Intel RDT is not enabled (resctrl is not mounted)");
}

/** The directory of the container's group; and whether it is the container's alone, to be removed with it. */
export function rdtGroup(
  { closID, schemata, l3CacheSchema, memBwSchema }: SpecIntelRdt,
  id: string,
  resctrl: string,
): { path: string; own: boolean; mustExist: boolean } {
  const settings = schemata ?? l3CacheSchema ?? memBwSchema;
  return {
    path: `${resctrl}/${closID ?? id}`,
    own: closID === undefined,
    mustExist: closID !== undefined && settings === undefined,
  };
}

/** In the child, before it is in namespaces of its own: makes the group if need be, sets it, and joins it. */
export function joinRdtGroup(w: ProgramWriter, rdt: SpecIntelRdt, id: string, { resctrl }: HostFacts): void {
  if (resctrl === undefined) return;
  const { path, own, mustExist } = rdtGroup(rdt, id, resctrl);
  const { b } = w;
  if (!mustExist) {
    b.sys("mkdirat", [AT_FDCWD, b.cstr(path), DIRECTORY_MODE], {
      ignore: ERRNO.EEXIST,
      why: `make the RDT group ${path}`,
    });
  }
  for (const line of schemataOf(rdt))
    w.writeFile(`${path}/schemata`, `${line}\n`, `set linux.intelRdt ${line}`);
  // 0 is whoever writes.
  w.writeFile(`${path}/tasks`, "0", `join the RDT group ${path}`);
  if (!rdt.enableMonitoring || own) return;
  const monitoring = `${path}/mon_groups/${id}`;
  b.sys("mkdirat", [AT_FDCWD, b.cstr(monitoring), DIRECTORY_MODE], {
    ignore: ERRNO.EEXIST,
    why: `make the RDT monitoring group ${monitoring}`,
  });
  w.writeFile(`${monitoring}/tasks`, "0", `join the RDT monitoring group ${monitoring}`);
}

/** Lines for the group's schemata file; memory bandwidth and caches by name, as older configurations have them, last. */
function schemataOf({ schemata = [], l3CacheSchema, memBwSchema }: SpecIntelRdt): string[] {
  // What the older field says of memory bandwidth is that of the newer one, where both are there.
  const l3 = (l3CacheSchema ?? "")
    .split("\n")
    .filter((line) => line !== "" && !(memBwSchema && /^MB:/.test(line)));
  return [...schemata, ...l3, ...(memBwSchema ? [memBwSchema] : [])];
}

function refuse(message: string): BerthError {
  return new BerthError("invalid", `linux.${message}`, { operation: "compile container" });
}
