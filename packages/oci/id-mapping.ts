/**
 * Containers without root's rights (`rootless`): who the caller is, what such a container has to have, and mappings of more
 * than the caller's own ids, which the kernel takes from newuidmap and newgidmap only. Those check /etc/subuid and
 * /etc/subgid; nothing is checked here.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { BerthError } from "#errors/errors.ts";
import {
  hostId,
  hostInside,
  type RootlessCaller,
  type UserNamespacePlan,
} from "#runtime/compile/user-namespace.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import type { Spec, SpecIdMapping } from "#runtime/spec-types.ts";

const run = promisify(execFile);

/** Undefined for root, be it the host's or that of a user namespace we are in. */
export function rootlessCaller(): RootlessCaller | undefined {
  const uid = process.geteuid?.() ?? 0;
  const gid = process.getegid?.() ?? 0;
  return uid === 0 ? undefined : { uid, gid };
}

/** Throws "invalid" for a container that only root could make. */
export function checkRootless(spec: Spec, rootless: RootlessCaller | undefined): void {
  if (rootless === undefined || hasUserNamespace(spec)) return;
  throw new BerthError("invalid", "linux.namespaces: rootless container requires user namespaces", {
    operation: "create container",
    hint: "berth-oci spec --rootless writes a configuration to begin with",
  });
}

/** What the kernel lets a process of this container do. */
export function hostFor(spec: Spec, host: HostFacts): HostFacts {
  return hasUserNamespace(spec) ? hostInside(host) : host;
}

function hasUserNamespace(spec: Spec): boolean {
  return spec.linux?.namespaces?.some(({ type }) => type === "user") ?? false;
}

/** As whom root on the host gives something to a user of the container; undefined where that isn't known. */
export function ownerOnHost(
  spec: Spec,
  uid: number,
  rootless: RootlessCaller | undefined,
): number | undefined {
  if (rootless !== undefined || !hasUserNamespace(spec)) return uid;
  return hostId(spec.linux?.uidMappings ?? [], uid);
}

/** Throws "start-failed" with what the tool has said. */
export async function mapByTools(
  pid: number,
  { uidMappings, gidMappings }: Pick<UserNamespacePlan, "uidMappings" | "gidMappings">,
): Promise<void> {
  await mapBy("newuidmap", "linux.uidMappings", pid, uidMappings);
  await mapBy("newgidmap", "linux.gidMappings", pid, gidMappings);
}

async function mapBy(
  tool: string,
  field: string,
  pid: number,
  mappings: readonly SpecIdMapping[],
): Promise<void> {
  const numbers = mappings.flatMap(({ containerID, hostID, size }) => [containerID, hostID, size]);
  try {
    await run(tool, [pid, ...numbers].map(String));
  } catch (cause) {
    const { code, stderr = "", message } = cause as Error & { code?: string | number; stderr?: string };
    const missing = code === "ENOENT";
    throw new BerthError(
      "start-failed",
      `${field}: ${missing ? `${tool} is not there` : `${tool} failed: ${stderr.trim() || message}`}`,
      {
        operation: "map ids",
        hint: missing
          ? "it is in the package uidmap"
          : "are the ranges yours in /etc/subuid and /etc/subgid?",
        cause,
      },
    );
  }
}
