/**
 * Names and texts of error numbers.
 *
 * The numbers are those of asm-generic/errno-base.h and errno.h, the same on x64 and arm64. The texts are in the
 * spelling of Go's syscall package, since scripts that watch a Docker daemon match on those.
 */
import { constants } from "node:os";

/** Error numbers by name: `ERRNO.ENOENT === 2`. */
export const ERRNO = {
  ...constants.errno,
  ENODATA: 61,
  EOPNOTSUPP: 95,
  ESTALE: 116,
  EUCLEAN: 117,
} as const;

/** Second names of a number, and names that only older code uses. */
const aliases = new Set(["EWOULDBLOCK", "EDEADLOCK", "ENOTSUP"]);

const nameByNumber = new Map<number, string>();
for (const [name, number] of Object.entries(ERRNO)) {
  if (!aliases.has(name)) nameByNumber.set(number, name);
}

const texts: Record<string, string> = {
  EPERM: "operation not permitted",
  ENOENT: "no such file or directory",
  ESRCH: "no such process",
  EINTR: "interrupted system call",
  EIO: "input/output error",
  ENXIO: "no such device or address",
  E2BIG: "argument list too long",
  ENOEXEC: "exec format error",
  EBADF: "bad file descriptor",
  ECHILD: "no child processes",
  EAGAIN: "resource temporarily unavailable",
  ENOMEM: "cannot allocate memory",
  EACCES: "permission denied",
  EFAULT: "bad address",
  EBUSY: "device or resource busy",
  EEXIST: "file exists",
  EXDEV: "invalid cross-device link",
  ENODEV: "no such device",
  ENOTDIR: "not a directory",
  EISDIR: "is a directory",
  EINVAL: "invalid argument",
  ENFILE: "too many open files in system",
  EMFILE: "too many open files",
  ENOTTY: "inappropriate ioctl for device",
  ETXTBSY: "text file busy",
  EFBIG: "file too large",
  ENOSPC: "no space left on device",
  ESPIPE: "illegal seek",
  EROFS: "read-only file system",
  EMLINK: "too many links",
  EPIPE: "broken pipe",
  ERANGE: "numerical result out of range",
  ENAMETOOLONG: "file name too long",
  ENOSYS: "function not implemented",
  ENOTEMPTY: "directory not empty",
  ELOOP: "too many levels of symbolic links",
  ENODATA: "no data available",
  EOVERFLOW: "value too large for defined data type",
  ENOTSOCK: "socket operation on non-socket",
  EMSGSIZE: "message too long",
  EPROTONOSUPPORT: "protocol not supported",
  EOPNOTSUPP: "operation not supported",
  EAFNOSUPPORT: "address family not supported by protocol",
  EADDRINUSE: "address already in use",
  EADDRNOTAVAIL: "cannot assign requested address",
  ENETDOWN: "network is down",
  ENETUNREACH: "network is unreachable",
  ECONNABORTED: "software caused connection abort",
  ECONNRESET: "connection reset by peer",
  ENOBUFS: "no buffer space available",
  EISCONN: "transport endpoint is already connected",
  ENOTCONN: "transport endpoint is not connected",
  ETIMEDOUT: "connection timed out",
  ECONNREFUSED: "connection refused",
  EHOSTUNREACH: "no route to host",
  EALREADY: "operation already in progress",
  EINPROGRESS: "operation now in progress",
  ESTALE: "stale file handle",
  EUCLEAN: "structure needs cleaning",
  EDQUOT: "disk quota exceeded",
};

/** "ENOENT" for 2; "E999" for a number without a name. */
export function errnoName(errno: number): string {
  return nameByNumber.get(errno) ?? `E${errno}`;
}

/** "no such file or directory" for 2; "errno 999" for a number without a text here. */
export function errnoText(errno: number): string {
  return texts[errnoName(errno)] ?? `errno ${errno}`;
}
