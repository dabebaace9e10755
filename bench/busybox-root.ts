/** A root file system with nothing but Debian's static busybox, and lines for it to write, for every peer the same. */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Bytes of each file of lines. */
const MEGABYTE = 1_000_000;

/** Files of a million bytes, by the length of their lines with the end. */
export const LINES = { 80: "/lines-80", 2: "/lines-2" } as const;

/** Answers the path of a tar archive of it. */
export function makeRootArchive(directory: string): string {
  const busybox = ["/bin/busybox", "/usr/bin/busybox"].find((path) => existsSync(path));
  if (busybox === undefined) throw new Error("bench needs busybox: apt-get install busybox-static");
  const root = join(directory, "root");
  mkdirSync(join(root, "bin"), { recursive: true });
  cpSync(busybox, join(root, "bin/busybox"));
  for (const applet of ["sh", "true", "echo", "cat", "sleep"])
    symlinkSync("busybox", join(root, "bin", applet));
  for (const [length, path] of Object.entries(LINES)) {
    const line = `${"0123456789".repeat(8).slice(0, Number(length) - 1)}\n`;
    writeFileSync(join(root, path), line.repeat(MEGABYTE / line.length));
  }
  const archive = join(directory, "root.tar");
  execFileSync("tar", ["-C", root, "-cf", archive, "."]);
  return archive;
}
