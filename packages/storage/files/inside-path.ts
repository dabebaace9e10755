/**
 * Paths as clients of archives give them: made absolute, the directory part followed through links inside the
 * container's root, the last name taken as it stands. A final "/." or "/" means something to clients and is kept.
 */
import { posix } from "node:path";
import { ERRNO } from "#kernel/errno.ts";
import { type FileStatus, S_IFLNK, S_IFMT } from "#kernel/file-syscalls.ts";
import type { RootDirectory } from "#kernel/root-directory.ts";
import { SyscallError } from "#kernel/syscall-error.ts";

/** Links followed in one path, as Docker. */
const maxLinks = 255;

export interface InsidePath {
  /** What it is called in answers and archives: "etc" of "/etc/", "." of "/etc/.", "/" of "/". */
  label: string;
  /** The directory that holds it, absolute, free of links. */
  directory: string;
  /** "" or "." where the directory itself is meant. */
  name: string;
}

/** Takes a client's path apart; looks at links, opens nothing for good. */
export function resolveInside(root: RootDirectory, path: string): InsidePath {
  const absolute = absolutePath(path);
  const slash = absolute.lastIndexOf("/");
  return {
    label: posix.basename(absolute) || "/",
    directory: followLinks(root, absolute.slice(0, slash + 1)),
    name: absolute.slice(slash + 1),
  };
}

/** The path from "/" with "." and ".." gone, but for a "/." or "/" at its end. */
export function absolutePath(path: string): string {
  const clean = posix.resolve("/", path);
  const last = posix.basename(path);
  const current = last === "." || path === "" ? `${clean.endsWith("/") ? clean : `${clean}/`}.` : clean;
  return path.endsWith("/") && !current.endsWith("/") ? `${current}/` : current;
}

/**
 * Where a path leads inside the root, all links followed: absolute, clean. What does not exist is taken as it is
 * written. Only good for telling and for a start: between this and an opening everything may change, so what is opened by
 * the result is opened inside the root again.
 */
export function followLinks(root: RootDirectory, path: string): string {
  const pending = path.split("/").reverse();
  const done: string[] = [];
  let links = 0;
  while (pending.length > 0) {
    const name = pending.pop() as string;
    if (name === "" || name === ".") continue;
    if (name === "..") {
      done.pop();
      continue;
    }
    const here = [...done, name].join("/");
    if (!isLink(root.lstat(here))) {
      done.push(name);
      continue;
    }
    links += 1;
    if (links > maxLinks) throw new SyscallError("resolve", ERRNO.ELOOP, [path]);
    const target = root.readLink(here);
    if (target.startsWith("/")) done.length = 0;
    pending.push(...target.split("/").reverse());
  }
  return `/${done.join("/")}`;
}

function isLink(status: FileStatus | undefined): boolean {
  return status !== undefined && (status.mode & S_IFMT) === S_IFLNK;
}
