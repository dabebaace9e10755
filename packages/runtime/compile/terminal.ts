/** The child's side of a terminal: made in the container's own devpts, handed to the shim, made the controlling one. */
import type { Register } from "#program/types.ts";
import { IOCTL } from "#runtime/compile/kernel-constants.ts";
import { placeStdio } from "#runtime/compile/process-start.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { Stdio } from "#runtime/compile/shim-frame.ts";
import type { StdioPlan } from "#runtime/launch-types.ts";
import type { SpecProcess } from "#runtime/spec-types.ts";

/** As a group or user for chown(2): leave it. */
const UNCHANGED = 0xffff_ffff;

/**
 * From the open master: unlocks, opens the other side without any path, sets the size, sends the master away. An object
 * that is no terminal master fails the first of these, whatever name it was opened by.
 */
export function makeTerminal(
  w: ProgramWriter,
  master: Register,
  send: Register,
  slave: Register,
  size: { rows: number; columns: number } | undefined,
): void {
  const { b, O } = w;
  const unlock = w.constant({ width: 4, value: 0 });
  b.sys("ioctl", [master, IOCTL.TIOCSPTLCK, unlock], { why: "unlock the terminal" });
  const flags = O.RDWR | O.NOCTTY | O.CLOEXEC;
  b.sys("ioctl", [master, IOCTL.TIOCGPTPEER, flags], { into: slave, why: "open the terminal" });
  if (size !== undefined) {
    const content = new Uint8Array(8);
    new DataView(content.buffer).setUint16(0, size.rows, true);
    new DataView(content.buffer).setUint16(2, size.columns, true);
    const why = `set the terminal to ${size.rows} rows of ${size.columns}`;
    b.sys("ioctl", [master, IOCTL.TIOCSWINSZ, b.bytes(content)], { why });
  }
  b.sendFd(send, master, "send the terminal to the shim");
  w.close(master);
}

/** The size asked for by the client, or by the configuration. */
export function terminalSize(
  plan: Pick<StdioPlan, "rows" | "columns">,
  process: SpecProcess,
): { rows: number; columns: number } | undefined {
  if (plan.rows && plan.columns) return { rows: plan.rows, columns: plan.columns };
  const { height = 0, width = 0 } = process.consoleSize ?? {};
  return height > 0 && width > 0 ? { rows: height, columns: width } : undefined;
}

/**
 * Makes the ends of the pipes the container's user's, so that it can open /dev/stdout again. Only what was made here is
 * ever given away: not /dev/null.
 */
export function giveStdio(w: ProgramWriter, stdio: Stdio, plan: StdioPlan, uid: number): void {
  const { stdin, stdout, stderr } = stdio;
  for (const fd of [plan.openStdin ? stdin : undefined, stdout, stderr]) {
    if (fd !== undefined) giveTo(w, fd, uid);
  }
}

/** Stdin, stdout and stderr: the terminal, which becomes the user's, or the pipes. */
export function takeStdio(w: ProgramWriter, stdio: Stdio, slave: Register | undefined, uid: number): void {
  if (slave !== undefined) {
    takeTerminal(w, slave, uid);
    return;
  }
  const { stdin, stdout, stderr } = stdio;
  if (stdin === undefined || stdout === undefined || stderr === undefined) throw new Error("no stdio");
  placeStdio(w, stdin, stdout, stderr);
}

/** The terminal as stdin, stdout, stderr and controlling terminal. */
export function takeTerminal(w: ProgramWriter, slave: Register, uid: number): void {
  w.b.sys("ioctl", [slave, IOCTL.TIOCSCTTY, 0], { why: "make the terminal the controlling one" });
  giveTo(w, slave, uid);
  placeStdio(w, slave, slave, slave);
}

function giveTo(w: ProgramWriter, fd: Register, uid: number): void {
  if (uid !== 0) w.b.sys("fchown", [fd, uid, UNCHANGED], { why: `give ${fd.name} to user ${uid}` });
}
