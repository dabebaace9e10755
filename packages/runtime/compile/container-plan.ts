/**
 * What is known of a container's start before a single instruction is written: the checked configuration, its
 * namespaces, mounts and sysctls. Pure.
 */
import { BerthError } from "#errors/errors.ts";
import type { CgroupOwner } from "#runtime/cgroups/container-cgroup.ts";
import { checkLinux } from "#runtime/compile/check-linux.ts";
import { checkProcess } from "#runtime/compile/check-process.ts";
import { planDevices } from "#runtime/compile/device-nodes.ts";
import { planPaths } from "#runtime/compile/hidden-paths.ts";
import { checkIdMaps } from "#runtime/compile/id-mapped-mounts.ts";
import { labelMounts } from "#runtime/compile/labels.ts";
import { type PlannedMount, planMounts } from "#runtime/compile/mount-plan.ts";
import { type NamespacePlan, planNamespaces } from "#runtime/compile/namespaces.ts";
import { planPropagation, type RootPropagation } from "#runtime/compile/root-file-system.ts";
import { planSysctls } from "#runtime/compile/sysctls.ts";
import {
  checkMapped,
  hostInside,
  planUserNamespace,
  type UserNamespacePlan,
} from "#runtime/compile/user-namespace.ts";
import type { ContainerParts } from "#runtime/launch-types.ts";
import type { SpecDevice, SpecMount, SpecProcess } from "#runtime/spec-types.ts";

/** Where an init is found in the container, as in Docker. */
export const INIT_PATH = "/sbin/docker-init";

export interface ContainerPlan {
  parts: ContainerParts;
  process: SpecProcess;
  namespaces: NamespacePlan;
  /** Undefined in the host's. */
  user: UserNamespacePlan | undefined;
  mounts: PlannedMount[];
  devices: SpecDevice[];
  rootPropagation: RootPropagation;
  maskedPaths: string[];
  readonlyPaths: string[];
  sysctls: { path: string; value: string }[];
  /** Of the control groups. */
  owner: CgroupOwner;
}

/** Throws BerthError, "invalid" or "not-implemented", for a configuration that cannot be run as it says. */
export function planContainer(parts: ContainerParts): ContainerPlan {
  const { spec } = parts;
  const process = checkedProcess(parts);
  const user = planUserNamespace(spec, parts.rootless);
  if (user !== undefined) checkMapped(user, process);
  const given = labelMounts(spec.mounts ?? [], spec.linux?.mountLabel, parts.host);
  const mounts = planMounts(given, initMount(parts));
  checkIdMaps(mounts, user, parts.rootless !== undefined);
  return {
    parts: user === undefined ? parts : { ...parts, host: hostInside(parts.host) },
    process,
    namespaces: planNamespaces(spec),
    user,
    mounts,
    devices: planDevices(spec.linux?.devices),
    rootPropagation: planPropagation(spec.linux?.rootfsPropagation),
    maskedPaths: planPaths(spec.linux?.maskedPaths, "linux.maskedPaths"),
    readonlyPaths: planPaths(spec.linux?.readonlyPaths, "linux.readonlyPaths"),
    sysctls: planSysctls(spec),
    owner: parts.cgroupOwner ?? (spec.linux?.cgroupsPath || parts.id),
  };
}

function checkedProcess({ spec, host }: ContainerParts): SpecProcess {
  if (spec.process === undefined) {
    throw new BerthError("invalid", "process: the configuration has no process", {
      operation: "compile container",
    });
  }
  checkProcess(spec.process, host);
  if (spec.linux !== undefined) checkLinux(spec.linux, host);
  return spec.process;
}

function initMount({ initPath }: ContainerParts): SpecMount[] {
  if (initPath === undefined) return [];
  return [
    { destination: INIT_PATH, type: "bind", source: initPath, options: ["bind", "ro", "nosuid", "nodev"] },
  ];
}
