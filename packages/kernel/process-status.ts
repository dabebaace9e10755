/**
 * What /proc tells about one process, and who it is: a pid together with its start time names a process for as long as
 * the host is up, a pid alone does not.
 */
import { readFileSync } from "node:fs";
import { isErrno } from "#kernel/syscall-error.ts";

export interface ProcessStatus {
  pid: number;
  /** The name in parentheses; may hold any character. */
  command: string;
  /** "R", "S", "D", "Z", "T", … */
  state: string;
  parentPid: number;
  processGroup: number;
  session: number;
  /** Field 22: clock ticks after boot, as written. */
  startTicks: string;
}

/** Parses /proc/<pid>/stat (proc(5)). The command may hold spaces and parentheses: the last ")" ends it. */
export function parseProcessStat(text: string): ProcessStatus | undefined {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  if (open < 0 || close < open) return undefined;
  // The first field after the command is the third of the line.
  const fields = text
    .slice(close + 1)
    .trim()
    .split(" ");
  const [state, parentPid, processGroup, session] = fields;
  const startTicks = fields[19];
  if (state === undefined || startTicks === undefined) return undefined;
  return {
    pid: Number.parseInt(text, 10),
    command: text.slice(open + 1, close),
    state,
    parentPid: Number(parentPid),
    processGroup: Number(processGroup),
    session: Number(session),
    startTicks,
  };
}

/** Status of a process; undefined if there is none. */
export function readProcessStatus(pid: number): ProcessStatus | undefined {
  try {
    return parseProcessStat(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch (error) {
    if (isErrno(error, "ENOENT", "ESRCH")) return undefined;
    throw error;
  }
}

/** Start time of a process in clock ticks after boot; undefined if there is none. */
export function readStartTicks(pid: number): string | undefined {
  return readProcessStatus(pid)?.startTicks;
}

/** Does the process with that pid and start time still run? One that has ended but was not reaped does not. */
export function isProcessAlive(pid: number, startTicks: string): boolean {
  const status = readProcessStatus(pid);
  return status?.startTicks === startTicks && status.state !== "Z" && status.state !== "X";
}

/** Name of the running boot; start times of different boots cannot be compared. */
export function readBootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
