/**
 * Errors of unpacking: each names the archive entry it is about.
 */
import { BerthError } from "#errors/errors.ts";
import { ERRNO } from "#kernel/errno.ts";
import { SyscallError } from "#kernel/syscall-error.ts";

/** The archive is wrong: its entry `name` … */
export function invalid(name: string, reason: string): BerthError {
  return new BerthError("invalid", `archive entry ${JSON.stringify(name)} ${reason}`, {
    operation: "unpack layer",
    object: name,
  });
}

/** Failures that the archive's own names bring about; the rest is the host's. */
const archiveFaults: readonly number[] = [
  ERRNO.ENAMETOOLONG,
  ERRNO.ENOTDIR,
  ERRNO.ELOOP,
  ERRNO.EINVAL,
  ERRNO.ENOENT,
  ERRNO.EEXIST,
  // A sparse file longer than files can be; more names than a file can have.
  ERRNO.EFBIG,
  ERRNO.EMLINK,
];

/** Runs a step of unpacking an entry; failures of system calls become errors about that. */
export function naming(entry: string, step: () => void): void {
  try {
    step();
  } catch (error) {
    throw error instanceof SyscallError ? explain(error, entry) : error;
  }
}

function explain(cause: SyscallError, entry: string): BerthError {
  const detail = { operation: "unpack layer", object: entry, cause };
  if (cause.errno === ERRNO.ENOSPC || cause.errno === ERRNO.EDQUOT) {
    return new BerthError("no-space", `write ${entry}: no space left on device`, {
      ...detail,
      hint: "Free space where the daemon keeps its data, for example with: docker system prune",
    });
  }
  const code = archiveFaults.includes(cause.errno) ? "invalid" : "internal";
  return new BerthError(
    code,
    `archive entry ${JSON.stringify(entry)} cannot be unpacked: ${cause.message}`,
    detail,
  );
}
