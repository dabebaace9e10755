/**
 * The last steps before the container's own program runs, the same for a container's first process and for an exec:
 * working directory, limits, descriptors, identity, execve.
 */
import { ANY_ERRNO, type Register } from "#program/types.ts";
import { takeIdentity } from "#runtime/compile/identity.ts";
import { cleanPath, INSIDE } from "#runtime/compile/inside-root.ts";
import {
  AT_FDCWD,
  CLOSE_RANGE_CLOEXEC,
  ERRNO,
  KEYCTL_JOIN_SESSION_KEYRING,
  PR,
} from "#runtime/compile/kernel-constants.ts";
import { setPersonality } from "#runtime/compile/personality.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { setScheduling } from "#runtime/compile/scheduling.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import { rlimitNumber, rlimitValue } from "#runtime/rlimits.ts";
import type { SpecLinux, SpecProcess, SpecSeccomp } from "#runtime/spec-types.ts";

const DEFAULT_UMASK = 0o022;
/** Longest path the kernel takes, NUL included. */
const PATH_MAX = 4096;

export interface ProcessStart {
  process: SpecProcess;
  /** What is run: the process' own arguments, or an init's with them behind. */
  argv: readonly string[];
  seccomp: SpecSeccomp | undefined;
  personality: SpecLinux["personality"];
  host: HostFacts;
  /** The session keyring's name: the container's id. */
  id: string;
  /** The session keyring stays the parent's. */
  noNewKeyring?: boolean;
  /** How many descriptors from 3 on stay open. */
  preserveFds?: number;
  /** Supplementary groups in a user namespace. */
  groups?: "set" | "try" | "leave";
  /** Dies when its parent does. */
  endsWithParent: boolean;
  /** Written where user and capabilities are final; and the system call filter is not there yet, unless it notifies. */
  beforeFilter?(): void;
  /** Written behind a filter that notifies. */
  announceListener?(listener: Register): void;
}

/** The labels by which explain.ts knows these steps. */
export const CWD_LABEL = "chdir to cwd";

/** Writes the steps. Answers the instructions that are attempts at execve; nothing comes after them. */
export function startProcess(w: ProgramWriter, start: ProcessStart): void {
  const { b, O } = w;
  const { process, id } = start;
  const cwd = cleanPath(process.cwd, "working directory");
  if (!start.noNewKeyring) {
    b.sys("keyctl", [KEYCTL_JOIN_SESSION_KEYRING, b.cstr(`_ses.${id}`)], {
      ignore: ERRNO.ENOSYS,
      why: "join a session keyring of its own",
    });
  }
  // The descriptor is below the root whatever lies on the way; /proc/self/fd/N is no way.
  w.borrow((directory) => {
    w.borrow((root) => {
      w.open("/", O.PATH | O.DIRECTORY, root, "open /");
      const flags = O.PATH | O.DIRECTORY;
      const why = `${CWD_LABEL} ("${cwd}")`;
      w.openUnder(root, cwd.slice(1), { flags, resolve: INSIDE, into: directory, why });
      b.sys("fchdir", [directory], { why });
      w.close(root);
    });
    w.close(directory);
  });
  for (const { type, soft, hard } of process.rlimits ?? []) {
    const limit = w.constant({ width: 8, value: rlimitValue(soft) }, { width: 8, value: rlimitValue(hard) });
    b.sys("prlimit64", [0, rlimitNumber(type), limit, 0], { why: `set ${type} to ${soft}:${hard}` });
  }
  setScheduling(w, process);
  if (start.personality) setPersonality(w, start.personality);
  b.sys("umask", [process.user.umask ?? DEFAULT_UMASK], { why: "set the umask" });
  b.sys("close_range", [3 + (start.preserveFds ?? 0), 0xffff_ffff, CLOSE_RANGE_CLOEXEC], {
    why: "close all other descriptors on execve",
  });
  takeIdentity(w, start);
  execute(w, start);
}

/** Who isn't the host's root cannot be spared by lowering it: that is no failure. */
export function adjustOomScore(w: ProgramWriter, { oomScoreAdj }: SpecProcess, leniently: boolean): void {
  if (oomScoreAdj === undefined) return;
  const { b } = w;
  const text = String(oomScoreAdj);
  const path = "/proc/self/oom_score_adj";
  const why = `set the OOM score adjustment to ${text}`;
  if (!leniently) {
    w.writeFile(path, text, why);
    return;
  }
  const refused = b.label("the OOM score adjustment stays");
  const content = b.cstr(text);
  // Of a process that cannot be looked into everything in procfs is the host root's.
  b.sys("prctl", [PR.SET_DUMPABLE, 1, 0, 0, 0], { why });
  w.borrow((fd) => {
    w.open(path, w.O.WRONLY, fd, why, { ignore: ERRNO.EACCES });
    b.jumpIfNegative(fd, refused);
    b.sys("write", [fd, content, content.length - 1], { ignore: ERRNO.EACCES, why });
    w.close(fd);
  });
  b.place(refused);
  b.sys("prctl", [PR.SET_DUMPABLE, 0, 0, 0, 0], { why });
}

/**
 * Before a user namespace is entered, in which nobody may raise a limit. What is to be lower than it is now is refused
 * here, and taken later.
 */
export function raiseLimits(w: ProgramWriter, { rlimits = [] }: SpecProcess): void {
  const { b } = w;
  for (const { type, hard } of rlimits) {
    const why = `raise ${type} to ${hard}`;
    const number = rlimitNumber(type);
    const room = b.scratch(16, 8);
    b.sys("prlimit64", [0, number, 0, room], { why });
    w.borrow((value) => {
      b.set(value, BigInt.asIntN(64, rlimitValue(hard)), why);
      b.store(value, b.slice(room, 8, 8), 8);
    });
    b.sys("prlimit64", [0, number, room, 0], { ignore: ERRNO.EINVAL, why });
  }
}

/**
 * Along PATH first every candidate is tried whatever becomes of it; then once more, so that a failure other than a
 * candidate's absence is the one reported, and absence by the very last instruction.
 */
function execute(w: ProgramWriter, { argv, process }: ProcessStart): void {
  const { b } = w;
  const file = argv[0] ?? "";
  const args = b.cstrArray(argv);
  const env = b.cstrArray(environmentOf(process));
  const why = (path: string) => `exec ${path}`;
  if (file.includes("/")) {
    b.sys("execve", [b.cstr(file), args, env], { why: why(file) });
    return;
  }
  const candidates = searchPath(process.env ?? []).map((directory) => `${directory}/${file}`);
  const fitting = candidates.filter((path) => Buffer.byteLength(path) < PATH_MAX);
  for (const path of fitting)
    b.sys("execve", [b.cstr(path), args, env], { ignore: ANY_ERRNO, why: why(path) });
  for (const path of fitting)
    b.sys("execve", [b.cstr(path), args, env], { ignore: ERRNO.ENOENT, why: why(path) });
  // Names of one letter more than the kernel takes, or an empty PATH: still "not found".
  b.sys("execve", [b.cstr(`/${NOWHERE}/${file}`.slice(0, PATH_MAX - 1)), args, env], { why: why(file) });
}

/**
 * Looks whether there is something to execute, as the user that will: what `create` has to find out and execve would
 * say at the start only. The instructions have execve's labels, and so its explanations.
 */
export function checkExecutable(w: ProgramWriter, args: readonly string[], env: readonly string[]): void {
  const { b } = w;
  const file = args[0] ?? "";
  const found = b.label(`${file} is there`);
  const attempt = (path: string, ignore?: number) =>
    w.borrow((answer) => {
      b.sys("faccessat2", [AT_FDCWD, b.cstr(path), X_OK, AT_EACCESS], {
        into: answer,
        why: `exec ${path}`,
        ...(ignore !== undefined && { ignore }),
      });
      if (ignore === undefined) return;
      const next = b.label(`${path} is not it`);
      b.jumpIfNegative(answer, next);
      b.jump(found);
      b.place(next);
    });
  if (file.includes("/")) attempt(file);
  else {
    const candidates = searchPath(env).map((directory) => `${directory}/${file}`);
    const fitting = candidates.filter((path) => Buffer.byteLength(path) < PATH_MAX);
    for (const path of fitting) attempt(path, ANY_ERRNO);
    for (const path of fitting) attempt(path, ERRNO.ENOENT);
    attempt(`/${NOWHERE}/${file}`.slice(0, PATH_MAX - 1));
  }
  b.place(found);
}

const X_OK = 1;
/** With the effective user and group, as execve looks. */
const AT_EACCESS = 0x200;

/** A directory that an image won't have. */
const NOWHERE = ".berth-not-found";

/** Directories of the last PATH in the environment, without one none; an empty one is the working directory. */
function searchPath(env: readonly string[]): string[] {
  const path = env.findLast((entry) => entry.startsWith("PATH="))?.slice("PATH=".length) ?? "";
  if (path === "") return [];
  return path.split(":").map((directory) => (directory === "" ? "." : directory.replace(/(?<=.)\/+$/, "")));
}

/** Of several entries with one name the last holds, in the place of the first: programs disagree on which they look at. */
function environmentOf({ env = [] }: SpecProcess): string[] {
  return [...new Map(env.map((entry) => [entry.slice(0, entry.indexOf("=")), entry])).values()];
}

/** Puts descriptors in the places of stdin, stdout and stderr. */
export function placeStdio(w: ProgramWriter, stdin: Register, stdout: Register, stderr: Register): void {
  [stdin, stdout, stderr].forEach((from, to) => {
    w.b.sys("dup3", [from, to, 0], { why: `make ${from.name} descriptor ${to}` });
  });
}
