/** A process as it is to be started: what its configuration says, checked, and what the command line adds to it. */
import { withHome } from "#oci/home.ts";
import { inheritedDescriptors } from "#oci/inherited-descriptors.ts";
import { checkProcess } from "#runtime/compile/check-process.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import type { SpecProcess } from "#runtime/spec-types.ts";

export interface ProcessSurroundings {
  host: HostFacts;
  /** The container's root directory as seen from here. */
  root: string;
  /** How many descriptors from 3 on the caller hands down. */
  preserveFds: number;
  /** Of this process, where a service manager may have left sockets for the container. */
  environment: Readonly<Record<string, string | undefined>>;
}

/** A user that isn't given is root, and so is what is missing of one. */
export function withUser(given: SpecProcess): SpecProcess {
  return { ...given, user: { ...(given.user ?? {}), uid: given.user?.uid ?? 0, gid: given.user?.gid ?? 0 } };
}

/** Throws "invalid", naming the field or option. */
export async function prepareProcess(
  process_: SpecProcess,
  { host, root, preserveFds, environment }: ProcessSurroundings,
): Promise<{ process: SpecProcess; preserveFds: number }> {
  const given = withUser(process_);
  checkProcess(given, host);
  const { count, env } = inheritedDescriptors(preserveFds, environment);
  const told = env.length === 0 ? given : { ...given, env: [...(given.env ?? []), ...env] };
  return { process: await withHome(told, root), preserveFds: count };
}
