/** Does what the thread that serves unions has no time for, on the threads that Node has for files. */
import { constants, copyFile, fdatasync, fsync } from "node:fs";
import { ERRNO } from "#kernel/errno.ts";
import type { Errand } from "#storage/union/errands.ts";

/** `done` is called with an error number, 0 for none. The descriptors stay open until then. */
export function runErrand(errand: Errand, done: (errno: number) => void): void {
  const over = (error: NodeJS.ErrnoException | null) => done(error === null ? 0 : numberOf(error));
  if (errand.kind === "sync") {
    if (errand.dataOnly) fdatasync(errand.fd, over);
    else fsync(errand.fd, over);
    return;
  }
  const { from, to } = errand;
  // By reference where the file system can.
  copyFile(`/proc/self/fd/${from}`, `/proc/self/fd/${to}`, constants.COPYFILE_FICLONE, (error) => {
    if (error !== null) over(error);
    else fdatasync(to, over);
  });
}

function numberOf(error: NodeJS.ErrnoException): number {
  return error.errno === undefined ? ERRNO.EIO : Math.abs(error.errno);
}
