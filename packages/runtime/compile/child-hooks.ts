/**
 * Hooks that the specification wants run inside the container's namespaces (createContainer, startContainer): each a
 * forked process with the state on its stdin, waited for, killed when its time is over. The first that fails ends the
 * start. Pure.
 */
import type { Register } from "#program/types.ts";
import { ERRNO } from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { HookName, SpecHook } from "#runtime/spec-types.ts";

const SEEK_SET = 0;
const SIGKILL = 9;
const POLLIN = 1;
const FUTEX_WAIT = 0;
const HOOK_NOT_FOUND = 127;

/** By this label explain.ts knows a hook that ended with another code than 0. */
export const HOOK_FAILED = "hook failed";

/** `state` is open for reading the hooks' stdin text. */
export function runChildHooks(
  w: ProgramWriter,
  name: HookName,
  hooks: readonly SpecHook[],
  state: Register,
): void {
  hooks.forEach((hook, index) => {
    runHook(w, hook, `${name} hook #${index} (${hook.path})`, state);
  });
}

function runHook(w: ProgramWriter, hook: SpecHook, what: string, state: Register): void {
  const { b } = w;
  const body = b.label(`the ${what}`);
  const bad = b.label(`${what} has failed`);
  const next = b.label(`after the ${what}`);
  b.sys("lseek", [state, 0, SEEK_SET], { why: `give the state to the ${what}` });
  w.borrow((pid) => {
    w.borrow((handle) => {
      b.fork({ flags: 0, into: pid, child: body, pidfd: handle, why: `fork for the ${what}` });
      if (hook.timeout !== undefined) stopInTime(w, hook.timeout, what, pid, handle);
      w.close(handle);
    });
    w.borrow((status) => {
      b.supervise(pid, status);
      b.jumpIfNotZero(status, bad);
    });
    b.jump(next);
    b.place(bad);
    // Its process is gone, which is an error that says so.
    b.sys("kill", [pid, 0], { why: `${HOOK_FAILED}: ${what} ended with an exit status that is not 0` });
    b.place(body);
    b.sys("dup3", [state, 0, 0], { why: `stdin of the ${what}` });
    b.sys("close_range", [3, 0xffff_ffff, 0], { why: `keep descriptors from the ${what}` });
    const args = b.cstrArray(hook.args?.length ? hook.args : [hook.path]);
    b.sys("execve", [b.cstr(hook.path), args, b.cstrArray(hook.env ?? [])], { why: `run the ${what}` });
    b.exit(HOOK_NOT_FOUND);
    b.place(next);
  });
}

/** Seconds, whole ones, as in the specification. */
function stopInTime(w: ProgramWriter, seconds: number, what: string, pid: Register, handle: Register): void {
  const { b } = w;
  const ended = b.label(`the ${what} has ended in time`);
  const set = b.scratch(8, 4);
  b.store(handle, b.slice(set, 0, 4), 4);
  w.borrow((events) => {
    b.set(events, POLLIN, `wait for the end of the ${what}`);
    b.store(events, b.slice(set, 4, 2), 2);
    const limit = w.constant({ width: 8, value: seconds }, { width: 8, value: 0 });
    b.sys("ppoll", [set, 1, limit, 0, 0], { into: events, why: `wait ${seconds} s for the ${what}` });
    b.jumpIfNotZero(events, ended);
  });
  b.sys("kill", [pid, SIGKILL], { ignore: ERRNO.ESRCH, why: `stop the ${what}` });
  // A wait that is over at once: its error is the one that says what has happened.
  const zero = b.scratch(8, 8);
  const now = w.constant({ width: 8, value: 0 }, { width: 8, value: 0 });
  b.sys("futex", [zero, FUTEX_WAIT, 0, now, 0, 0], {
    why: `${HOOK_FAILED}: ${what} took longer than ${seconds} s`,
  });
  b.place(ended);
}
