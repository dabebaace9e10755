/** A root file system with nothing but Debian's static busybox, for every peer the same. */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";

/** Answers the path of a tar archive of it. */
export function makeRootArchive(directory: string): string {
  const busybox = ["/bin/busybox", "/usr/bin/busybox"].find((path) => existsSync(path));
  if (busybox === undefined) throw new Error("bench needs busybox: apt-get install busybox-static");
  const root = join(directory, "root");
  mkdirSync(join(root, "bin"), { recursive: true });
  cpSync(busybox, join(root, "bin/busybox"));
  for (const applet of ["sh", "true", "echo", "cat", "sleep"])
    symlinkSync("busybox", join(root, "bin", applet));
  const archive = join(directory, "root.tar");
  execFileSync("tar", ["-C", root, "-cf", archive, "."]);
  return archive;
}
