/**
 * Descriptors behind stdin, stdout and stderr that a container's process gets: those that a service manager has opened
 * for it (sd_listen_fds(3)), and those that the caller asks for with --preserve-fds.
 */
import { readlinkSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";

/** The first behind the standard three. */
const FIRST = 3;
/** More than any service has; a wrong number does not have to be counted to the end. */
const MOST = 1 << 16;

export interface InheritedDescriptors {
  /** How many, from descriptor 3 on. */
  count: number;
  /** What tells the process of them. */
  env: string[];
}

/**
 * Looks which there are. Throws "invalid" for one that isn't open. `environment` is this process' own; sockets that are
 * meant for another process are left alone.
 */
export function inheritedDescriptors(
  preserved: number,
  environment: Readonly<Record<string, string | undefined>>,
): InheritedDescriptors {
  if (preserved < 0 || preserved > MOST) throw invalid(`--preserve-fds: invalid value ${preserved}`);
  const listening = listenDescriptors(environment);
  const count = listening + preserved;
  for (let index = 0; index < count; index++) checkOpen(FIRST + index, index, count);
  if (listening === 0) return { count, env: [] };
  const { LISTEN_FDNAMES } = environment;
  // It is the first process of the container, and 1 is its pid there.
  const env = [`LISTEN_FDS=${listening}`, "LISTEN_PID=1"];
  if (LISTEN_FDNAMES !== undefined) env.push(`LISTEN_FDNAMES=${LISTEN_FDNAMES}`);
  return { count, env };
}

function listenDescriptors({ LISTEN_FDS, LISTEN_PID }: Readonly<Record<string, string | undefined>>): number {
  if (LISTEN_FDS === undefined || Number(LISTEN_PID) !== process.pid) return 0;
  const count = Number(LISTEN_FDS);
  return Number.isInteger(count) && count > 0 && count <= MOST ? count : 0;
}

/** Node has descriptors of its own, and where one is missing the first of them has its number: it polls. */
function checkOpen(fd: number, index: number, count: number): void {
  let target: string | undefined;
  try {
    target = readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    // Not open.
  }
  if (target !== undefined && target !== "anon_inode:[eventpoll]") return;
  throw invalid(`unable to stat preserved-fd ${index} (of ${count}): descriptor ${fd} is not open`);
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "hand down descriptors" });
}
