/**
 * HOME for a process whose configuration has none: what the container's own passwd file says of its user, as runc and
 * crun do. The file is the container's, so it is looked up below its root and read with a bound.
 */

import type { SpecProcess } from "#runtime/spec-types.ts";
import { resolveUser } from "#runtime/user.ts";

const MAX_PASSWD = 1 << 20;

/** `root` is the root directory on the host, or `/proc/<pid>/root`. */
export async function withHome(process_: SpecProcess, root: string): Promise<SpecProcess> {
  const env = process_.env ?? [];
  if (env.some((entry) => entry.startsWith("HOME=") && entry !== "HOME=")) return process_;
  const others = env.filter((entry) => entry !== "HOME=");
  return { ...process_, env: [...others, `HOME=${await homeOf(process_.user.uid, root)}`] };
}

async function homeOf(uid: number, root: string): Promise<string> {
  // Most configurations have a HOME, and then nobody waits for this to load.
  const { RootDirectory } = await import("#kernel/root-directory.ts");
  try {
    using directory = new RootDirectory(root);
    const passwd = directory.readFile("/etc/passwd", { maxBytes: MAX_PASSWD }).toString("utf8");
    return resolveUser(String(uid), { passwd }).home;
  } catch {
    return "/"; // No such file, or none that can be read: nobody's home.
  }
}
