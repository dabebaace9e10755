/**
 * Extended attributes of open files and of names.
 *
 * By descriptor for regular files and directories opened for reading or writing; by path, never following a final
 * symbolic link, for everything else. `/proc/self/fd/<n>/<name>` gives a path relative to a directory descriptor: the
 * part before the name is the kernel's own link and cannot be raced.
 */
import { ERRNO } from "#kernel/errno.ts";
import { fail, lastErrno, libcFunction } from "#kernel/libc.ts";
import { decodePath, encodePath } from "#kernel/path-bytes.ts";

const cFset = libcFunction("int fsetxattr(int fd, const char *name, void *value, size_t size, int flags)");
const cLset = libcFunction(
  "int lsetxattr(const char *path, const char *name, void *value, size_t size, int flags)",
);
const cFget = libcFunction("int64_t fgetxattr(int fd, const char *name, void *value, size_t size)");
const cLget = libcFunction("int64_t lgetxattr(const char *path, const char *name, void *value, size_t size)");
const cFlist = libcFunction("int64_t flistxattr(int fd, void *list, size_t size)");
const cLlist = libcFunction("int64_t llistxattr(const char *path, void *list, size_t size)");
const cFremove = libcFunction("int fremovexattr(int fd, const char *name)");
const cLremove = libcFunction("int lremovexattr(const char *path, const char *name)");

/** The kernel's limit for one value and for a list of names, linux/limits.h. */
export const XATTR_SIZE_MAX = 65536;

/** A file by descriptor or by path (the final symbolic link is not followed). */
export type XattrSubject = number | string;

/** Path of `name` in an open directory (O_PATH is enough) for the calls below. */
export function xattrPath(directory: number, name: string): string {
  return `/proc/self/fd/${directory}/${name}`;
}

export function setXattr(subject: XattrSubject, name: string, value: Uint8Array): void {
  const key = encodePath(name);
  // An empty buffer has no address; its length of zero is what counts.
  const bytes = value.length === 0 ? Buffer.alloc(1) : value;
  const result =
    typeof subject === "number"
      ? cFset(subject, key, bytes, value.length, 0)
      : cLset(encodePath(subject), key, bytes, value.length, 0);
  if (result < 0) fail("setxattr", [subject, name]);
}

/** The value; undefined if the file has no such attribute or its file system has none at all. */
export function getXattr(subject: XattrSubject, name: string): Buffer | undefined {
  const key = encodePath(name);
  const get = (out: Buffer) =>
    typeof subject === "number"
      ? cFget(subject, key, out, out.length)
      : cLget(encodePath(subject), key, out, out.length);
  let out = Buffer.alloc(256);
  let length = get(out);
  if (length < 0 && lastErrno() === ERRNO.ERANGE) {
    out = Buffer.alloc(XATTR_SIZE_MAX);
    length = get(out);
  }
  if (length >= 0) return out.subarray(0, length);
  const errno = lastErrno();
  if (errno === ERRNO.ENODATA || errno === ERRNO.EOPNOTSUPP) return undefined;
  fail("getxattr", [subject, name]);
}

/** Names of the attributes; none where the file system has none. */
export function listXattr(subject: XattrSubject): string[] {
  const list = (out: Buffer) =>
    typeof subject === "number"
      ? cFlist(subject, out, out.length)
      : cLlist(encodePath(subject), out, out.length);
  let out = Buffer.alloc(1024);
  let length = list(out);
  if (length < 0 && lastErrno() === ERRNO.ERANGE) {
    out = Buffer.alloc(XATTR_SIZE_MAX);
    length = list(out);
  }
  if (length < 0) {
    if (lastErrno() === ERRNO.EOPNOTSUPP) return [];
    fail("listxattr", [subject]);
  }
  return splitNames(out.subarray(0, length));
}

/** Splits a list of names that each end in NUL. */
export function splitNames(list: Buffer): string[] {
  const names: string[] = [];
  let start = 0;
  for (let end = list.indexOf(0); end >= 0; end = list.indexOf(0, start)) {
    names.push(decodePath(list.subarray(start, end)));
    start = end + 1;
  }
  return names;
}

/** Removes one; true if it was there. */
export function removeXattr(subject: XattrSubject, name: string): boolean {
  const key = encodePath(name);
  const result = typeof subject === "number" ? cFremove(subject, key) : cLremove(encodePath(subject), key);
  if (result === 0) return true;
  if (lastErrno() === ERRNO.ENODATA) return false;
  fail("removexattr", [subject, name]);
}
