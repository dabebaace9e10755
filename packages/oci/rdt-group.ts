/** The end of what a container had of the resctrl file system (packages/runtime/compile/resource-director.ts). */
import { rmdirSync } from "node:fs";
import { readHostFacts } from "#kernel/host-facts.ts";
import { rdtGroup } from "#runtime/compile/resource-director.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import type { Spec } from "#runtime/spec-types.ts";

/** The group that is the container's alone; of one that others may share only what counts for this container. */
export function removeRdtGroup(id: string, spec: Spec, host?: HostFacts): void {
  const { intelRdt } = spec.linux ?? {};
  if (intelRdt === undefined) return;
  const { resctrl } = host ?? readHostFacts();
  if (resctrl === undefined) return;
  const { path, own } = rdtGroup(intelRdt, id, resctrl);
  try {
    rmdirSync(own ? path : `${path}/mon_groups/${id}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
