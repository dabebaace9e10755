/**
 * Writes to files of procfs from inside the container's namespaces: only ever through a procfs of our own, by
 * descriptor, and never across a mount that lies in it. A false /proc in the image or in a volume is not looked at.
 */
import type { Register } from "#program/types.ts";
import { RESOLVE } from "#runtime/compile/kernel-constants.ts";
import type { Mounted } from "#runtime/compile/mount-points.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";

const { BENEATH, NO_MAGICLINKS, NO_XDEV } = RESOLVE;

/** A procfs of our own: the container's, or one that is mounted nowhere. */
export function ownProc(w: ProgramWriter, mounted: Mounted): Register {
  if (mounted.proc !== undefined) return mounted.proc;
  const proc = w.b.register("proc");
  w.newMount({ type: "proc", source: "proc", parameters: [], attributes: 0 }, proc, "mount proc for own use");
  mounted.proc = proc;
  return proc;
}

/** Writes `text` to a file below procfs ("sys/net/ipv4/ip_forward"). */
export function writeProc(w: ProgramWriter, proc: Register, path: string, text: string, why: string): void {
  w.borrow((fd) => {
    w.openUnder(proc, path, { flags: w.O.WRONLY, resolve: BENEATH | NO_MAGICLINKS | NO_XDEV, into: fd, why });
    w.writeText(fd, text, why);
    w.close(fd);
  });
}
