/**
 * Containers in a user namespace (`--userns-remap` of the daemon): which have one, what else they cannot have then, and whose
 * the files are that the daemon makes for them. Nothing here is kernel's business; runtime/compile/user-namespace.ts is.
 */
import { chown, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import type { HostConfig } from "#api-types/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { BerthError } from "#errors/errors.ts";
import type { SpecIdMapping } from "#runtime/spec-types.ts";
import { type IdMap, type IdRange, rootOf } from "#storage/unpack/id-map.ts";

/** Mappings of a container's user namespace; undefined for one in the host's. */
export function mappingsOf(
  idMap: IdMap | undefined,
  { UsernsMode }: Pick<HostConfig, "UsernsMode">,
): { uidMappings: SpecIdMapping[]; gidMappings: SpecIdMapping[] } | undefined {
  if (idMap === undefined || UsernsMode === "host") return undefined;
  return { uidMappings: idMap.uids.map(mapping), gidMappings: idMap.gids.map(mapping) };
}

function mapping({ inside, outside, count }: IdRange): SpecIdMapping {
  return { containerID: inside, hostID: outside, size: count };
}

/** Who the containers' root is on the host. Their files belong to him also with `--userns=host`, as with Docker. */
export function containerRoot({ idMap }: Pick<EngineContext, "idMap">): { uid: number; gid: number } {
  return idMap === undefined ? { uid: 0, gid: 0 } : rootOf(idMap);
}

/** Throws "invalid" with Docker's texts for what takes the rights of the host's root. */
export function checkUserNamespace(idMap: IdMap | undefined, hostConfig: HostConfig): void {
  if (mappingsOf(idMap, hostConfig) === undefined) return;
  if (hostConfig.Privileged) {
    throw refuse(
      "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
    );
  }
  if (hostConfig.NetworkMode === "host") {
    throw refuse("cannot share the host's network namespace when user namespaces are enabled");
  }
  if (hostConfig.PidMode === "host") {
    throw refuse("cannot share the host PID namespace when user namespaces are enabled");
  }
}

/**
 * Namespaces can only be shared by who is in the user namespace they belong to. Throws "conflict" for a container that is
 * not to be in the host's, as `other` is.
 */
export function checkSharing(idMap: IdMap | undefined, own: HostConfig, other: HostConfig): void {
  if (mappingsOf(idMap, own) === undefined || mappingsOf(idMap, other) !== undefined) return;
  throw new BerthError(
    "conflict",
    "cannot share the namespaces of a container that runs in the host's user namespace",
    {
      operation: "start container",
      hint: "run this container with --userns=host, too",
    },
  );
}

/** Makes a directory, and those above it that are missing, for the containers' root. */
export async function makeForContainers(
  context: Pick<EngineContext, "idMap">,
  directory: string,
): Promise<void> {
  const first = await mkdir(directory, { recursive: true });
  if (first === undefined || context.idMap === undefined) return;
  const { uid, gid } = containerRoot(context);
  for (let path = directory; path.length >= first.length; path = dirname(path)) await chown(path, uid, gid);
}

function refuse(message: string): BerthError {
  return new BerthError("invalid", message, {
    operation: "create container",
    hint: "give the container --userns=host",
  });
}
