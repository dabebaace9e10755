/**
 * The way into a container's user namespace, of three processes. Pure.
 *
 * The *first* one, as the container's parent, stays on the host. It forks a *passing* one, which does what only the host's
 * rights allow (control groups, limits, namespaces of others, sources of bind mounts), and then enters the user namespace,
 * joined or new; the mappings of a new one are written by the first process, or at its request by the command line. From
 * inside, where every further namespace is the user namespace's own, it forks the *container's* process as a brother of
 * its own (CLONE_PARENT), tells the pid, and leaves.
 */
import type { Label, Register } from "#program/types.ts";
import { makeRendezvous, meetChild, meetParent, type Rendezvous } from "#runtime/compile/bundle-frame.ts";
import { AT_FDCWD, CLONE, PR, SIGKILL, WALL } from "#runtime/compile/kernel-constants.ts";
import { joinNamespaces, type NamespacePlan, prepareForChild } from "#runtime/compile/namespaces.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { mapText, type UserNamespacePlan } from "#runtime/compile/user-namespace.ts";
import type { Spec, SpecIdMapping } from "#runtime/spec-types.ts";

/** What the first and the passing process share. */
export interface Passage {
  /** A new namespace waits here for its mappings. */
  mapped: Rendezvous | undefined;
  /** The pid of the container's process comes this way. */
  pidRead: Register;
  pidWrite: Register;
}

export function makePassage(w: ProgramWriter, user: UserNamespacePlan): Passage {
  const pidRead = w.b.register("pid, read end");
  const pidWrite = w.b.register("pid, write end");
  w.pipe(pidRead, pidWrite, "make the pipe for the pid");
  return {
    mapped: user.path === undefined ? makeRendezvous(w, "mapped") : undefined,
    pidRead,
    pidWrite,
  };
}

/**
 * The first process' side. `pid` is the passing process', and becomes the container's; `ask` gets the mappings from the
 * command line. A passing process that has failed leads to `failed`, its report.
 */
export function seeThrough(
  w: ProgramWriter,
  user: UserNamespacePlan,
  { mapped, pidRead, pidWrite }: Passage,
  { pid, failed, ask }: { pid: Register; failed: Label; ask: () => void },
): void {
  const { b } = w;
  if (mapped !== undefined) {
    meetChild(w, mapped, failed, () => {
      if (user.byTools) ask();
      else writeMappings(w, pid, user);
    });
  }
  w.close(pidWrite);
  const room = b.scratch(8, 8);
  w.borrow((length) => {
    const told = b.label("the pid is told");
    b.sys("read", [pidRead, room, 8], { into: length, why: "wait for the pid" });
    b.jumpIfNotZero(length, told);
    b.jump(failed);
    b.place(told);
  });
  b.sys("wait4", [pid, 0, WALL, 0], { why: "see the passing process off" });
  b.load(pid, room, 8);
  w.close(pidRead);
}

/** Writes the maps of the user namespace that this process is in. */
export function writeMappings(
  w: ProgramWriter,
  pid: Register,
  maps: Pick<UserNamespacePlan, "uidMappings" | "gidMappings"> & { fixedGroups?: boolean },
): void {
  const { b } = w;
  withProcess(w, pid, (directory) => {
    const write = (file: string, text: string) =>
      w.borrow((fd) => {
        const why = `write ${file} of the user namespace`;
        b.sys("openat", [directory, b.cstr(file), w.O.WRONLY | w.O.CLOEXEC, 0], { into: fd, why });
        w.writeText(fd, text, why);
        w.close(fd);
      });
    const text = (mappings: readonly SpecIdMapping[]) => mapText(mappings);
    if (maps.fixedGroups) write("setgroups", "deny");
    write("gid_map", text(maps.gidMappings));
    write("uid_map", text(maps.uidMappings));
  });
}

/** Lends a descriptor of a process' directory in the host's procfs. */
export function withProcess(w: ProgramWriter, pid: Register, use: (directory: Register) => void): void {
  const { b, O } = w;
  const prefix = "/proc/";
  const path = b.bytes(new TextEncoder().encode(prefix.padEnd(prefix.length + 24, "\0")));
  b.formatDecimal(pid, b.slice(path, prefix.length));
  w.borrow((directory) => {
    b.sys("openat", [AT_FDCWD, path, O.PATH | O.DIRECTORY | O.CLOEXEC, 0], {
      into: directory,
      why: "look at the process in the new user namespace",
    });
    use(directory);
    w.close(directory);
  });
}

/** The passing process' last steps; what is written after this is done by the container's own process. */
export function enterUserNamespace(
  w: ProgramWriter,
  user: UserNamespacePlan,
  { mapped, pidRead, pidWrite }: Passage,
  { namespaces, spec }: { namespaces: NamespacePlan; spec: Spec },
): void {
  const { b } = w;
  w.close(pidRead);
  // Of a process that cannot be looked into everything in procfs is the host root's, who may not be us. In a new namespace
  // there is nobody yet to look.
  const open = user.rootless && user.path === undefined;
  if (open) setDumpable(w, true);
  if (user.path === undefined) b.sys("unshare", [CLONE.NEWUSER], { why: "make a user namespace" });
  else {
    const why = `join user namespace ${user.path}`;
    const path = user.path;
    w.borrow((fd) => {
      w.open(path, w.O.RDONLY, fd, why);
      b.sys("setns", [fd, CLONE.NEWUSER], { why });
      w.close(fd);
    });
  }
  if (mapped !== undefined) {
    w.close(mapped.parent);
    meetParent(w, mapped);
  }
  becomeNamespaceRoot(w);
  if (user.rootless) {
    if (open) setDumpable(w, true);
    prepareForChild(w, namespaces, spec);
    joinNamespaces(w, namespaces);
  }
  const child = b.label("the container's process");
  w.borrow((pid) => {
    const flags = namespaces.cloneFlags | CLONE.PARENT;
    b.fork({ flags, exitSignal: 0, into: pid, child, why: "fork into new namespaces" });
    const room = b.scratch(8, 8);
    b.store(pid, room, 8);
    b.sys("write", [pidWrite, room, 8], { full: true, why: "tell the pid" });
  });
  b.exit(0);
  b.place(child);
  w.close(pidWrite);
  // Others in a joined namespace have every right over us, but not to look into what came from the host.
  setDumpable(w, false);
  b.sys("prctl", [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0], { why: "end with the parent" });
  b.sys("setsid", [], { why: "begin a session" });
}

/** With all capabilities, which a change of user inside keeps. */
export function becomeNamespaceRoot(w: ProgramWriter): void {
  const { b } = w;
  b.sys("setresgid", [0, 0, 0], { why: "become group 0 of the user namespace" });
  b.sys("setresuid", [0, 0, 0], { why: "become user 0 of the user namespace" });
}

function setDumpable(w: ProgramWriter, on: boolean): void {
  const why = on ? "let the mappings be written" : "let nobody look into this process";
  w.b.sys("prctl", [PR.SET_DUMPABLE, on ? 1 : 0, 0, 0, 0], { why });
}
