/**
 * Paths inside a root file system that somebody else made. They are resolved by the kernel below the root's descriptor,
 * links and `..` included, whatever is renamed meanwhile; missing mount points are made by single names in directories
 * opened that way. No path is ever joined to the root's own.
 */
import { BerthError } from "#errors/errors.ts";
import type { Register } from "#program/types.ts";
import { ERRNO, RESOLVE, S_IFREG } from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";

/** Magic links lead out of every root: /proc/self/fd/7 may be a directory of the host. */
export const INSIDE = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS;

/** Cleaned, absolute: "/a/b". Throws "invalid" for a relative path, one with NUL, or "..". */
export function cleanPath(path: string, what: string): string {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  if (!path.startsWith("/") || path.includes("\0") || names.includes("..")) {
    throw new BerthError("invalid", `invalid ${what}: ${JSON.stringify(path)} is not an absolute path`, {
      operation: "compile container",
      hint: "it must begin with / and have no .. in it",
    });
  }
  return `/${names.join("/")}`;
}

const namesOf = (path: string): string[] => path.split("/").filter((name) => name !== "" && name !== ".");

/** Opens a directory below the root, making what is missing (mode 0755). */
export function openDirectory(
  w: ProgramWriter,
  root: Register,
  path: string,
  into: Register,
  why: string,
  resolve = INSIDE,
): void {
  const { b, O } = w;
  const flags = O.PATH | O.DIRECTORY;
  const names = namesOf(path);
  const create = b.label(`make ${path}`);
  const done = b.label(`have ${path}`);
  w.openUnder(root, names.join("/"), { flags, resolve, into, why, ignore: ERRNO.ENOENT });
  b.jumpIfNegative(into, create);
  b.jump(done);
  b.place(create);
  makeDirectories(w, root, names, into, why, resolve);
  w.place(done);
}

/** Opens a file of any kind but a directory, making an empty one (mode 0644) if it is missing. */
export function openFile(
  w: ProgramWriter,
  root: Register,
  path: string,
  into: Register,
  why: string,
  resolve = INSIDE,
): void {
  const { b, O } = w;
  const names = namesOf(path);
  const create = b.label(`make ${path}`);
  const done = b.label(`have ${path}`);
  const joined = names.join("/");
  w.openUnder(root, joined, { flags: O.PATH, resolve, into, why, ignore: ERRNO.ENOENT });
  b.jumpIfNegative(into, create);
  b.jump(done);
  b.place(create);
  w.borrow((parent) => {
    makeDirectories(w, root, names.slice(0, -1), parent, why, resolve);
    // mknod doesn't follow a link in the place of the name; what is found there is opened under the rules.
    b.sys("mknodat", [parent, b.cstr(names.at(-1) ?? ""), S_IFREG | 0o644, 0], {
      ignore: ERRNO.EEXIST,
      why: `${why}: make it`,
    });
    w.close(parent);
  });
  w.openUnder(root, joined, { flags: O.PATH, resolve, into, why });
  w.place(done);
}

/** Walks down the names, making those that are missing; `into` gets the last directory. */
function makeDirectories(
  w: ProgramWriter,
  root: Register,
  names: readonly string[],
  into: Register,
  why: string,
  resolve: number,
): void {
  const { b, O } = w;
  const flags = O.PATH | O.DIRECTORY;
  w.openUnder(root, ".", { flags, resolve, into, why });
  names.forEach((name, index) => {
    const prefix = names.slice(0, index + 1).join("/");
    w.borrow((next) => {
      const missing = b.label(`make ${prefix}`);
      const have = b.label(`have ${prefix}`);
      w.openUnder(root, prefix, { flags, resolve, into: next, why, ignore: ERRNO.ENOENT });
      b.jumpIfNegative(next, missing);
      b.jump(have);
      b.place(missing);
      b.sys("mkdirat", [into, b.cstr(name), 0o755], { ignore: ERRNO.EEXIST, why: `${why}: make /${prefix}` });
      w.openUnder(root, prefix, { flags, resolve, into: next, why });
      b.place(have);
      w.close(into);
      b.set(into, next, `go down to /${prefix}`);
    });
  });
}
