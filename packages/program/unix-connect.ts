/**
 * Connecting to a unix socket by a path of any length: an address has room for 107 bytes, and execution roots may lie
 * deep. A longer path is reached through an open descriptor of its directory.
 */
import { close, constants, openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { basename, dirname } from "node:path";

/** sizeof sockaddr_un.sun_path without the NUL. */
const MAX_ADDRESS = 107;

/**
 * A socket that is connecting; "connect" or "error" follows. Throws what opening the directory throws.
 */
export function connectUnix(path: string): Socket {
  if (Buffer.byteLength(path) <= MAX_ADDRESS) return connect({ path });
  const directory = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  const socket = connect({ path: `/proc/self/fd/${directory}/${basename(path)}` });
  // A connect to a unix socket has happened, or failed, by the time the call returns.
  close(directory, () => undefined);
  return socket;
}
