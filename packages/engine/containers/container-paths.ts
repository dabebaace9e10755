/** Where a container's files are. Pure. */
import { join } from "node:path";
import type { DaemonConfig } from "#config/config-types.ts";

type Roots = Pick<DaemonConfig, "dataRoot" | "execRoot">;

/**
 * Directories under the exec root are named by the first 24 digits (96 bits) of the id: a control socket's whole path
 * has to fit the 107 bytes of sockaddr_un.
 */
const RUN_ID_DIGITS = 24;

/** `<data-root>/containers/<id>`: what lives as long as the container. */
export function containerDirectory(roots: Roots, id: string): string {
  return join(roots.dataRoot, "containers", id);
}

/** `<exec-root>/containers/<id>`: what lives as long as one run. */
export function runDirectory(roots: Roots, id: string): string {
  return join(roots.execRoot, "containers", id.slice(0, RUN_ID_DIGITS));
}

/** `<exec-root>/execs/<id>`: what lives as long as one exec. */
export function execDirectory(roots: Roots, execId: string): string {
  return join(roots.execRoot, "execs", execId.slice(0, RUN_ID_DIGITS));
}

export function controlSocket(directory: string): string {
  return join(directory, "shim.sock");
}

export function exitFile(directory: string): string {
  return join(directory, "exit");
}
