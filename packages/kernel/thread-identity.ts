/**
 * Whom one thread makes files as. A file system that belongs to a user namespace (a container's tmpfs) takes no file of an
 * owner that is nobody there, not even for a moment and from the host's root: EOVERFLOW.
 *
 * File-system ids and securebits are the thread's own (credentials(7)). Never called on the main thread.
 */
import { isMainThread } from "node:worker_threads";
import { fail, libcFunction } from "#kernel/libc.ts";

const cPrctl = libcFunction(
  "int prctl(int option, unsigned long argument, long zero3, long zero4, long zero5)",
);
const cSetfsuid = libcFunction("int setfsuid(unsigned int uid)");
const cSetfsgid = libcFunction("int setfsgid(unsigned int gid)");

// linux/prctl.h, linux/securebits.h
const PR_GET_SECUREBITS = 27;
const PR_SET_SECUREBITS = 28;
/** Capabilities stay as they are when ids change. */
const SECBIT_NO_SETUID_FIXUP = 1 << 2;

/** Files that this thread makes belong to `owner`, until disposed; what it may do stays the same. */
export function makeFilesAs(owner: { uid: number; gid: number }): Disposable {
  if (isMainThread) throw new Error("the main thread stays who it is");
  const bits = cPrctl(PR_GET_SECUREBITS, 0, 0, 0, 0) as number;
  setSecurebits(bits | SECBIT_NO_SETUID_FIXUP);
  become(owner);
  return {
    [Symbol.dispose]: () => {
      become({ uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 });
      setSecurebits(bits);
    },
  };
}

/** From now on this thread may change whom it makes files as (`becomeFileOwner`) and keeps its rights whoever that is. */
export function keepRightsOfFileOwners(): void {
  if (isMainThread) throw new Error("the main thread stays who it is");
  setSecurebits((cPrctl(PR_GET_SECUREBITS, 0, 0, 0, 0) as number) | SECBIT_NO_SETUID_FIXUP);
}

function setSecurebits(bits: number): void {
  if (cPrctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0) fail("prctl", ["PR_SET_SECUREBITS", bits]);
}

/** These calls answer what was before, and never that they failed. */
function become({ uid, gid }: { uid: number; gid: number }): void {
  cSetfsgid(gid);
  cSetfsuid(uid);
}
