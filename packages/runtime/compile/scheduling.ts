/**
 * When and where a process runs: `process.scheduler`, `process.ioPriority` and `process.execCPUAffinity` (config.md,
 * "Linux Process"). Pure.
 */
import { BerthError } from "#errors/errors.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { SpecProcess, SpecScheduler } from "#runtime/spec-types.ts";

/** linux/sched.h */
const POLICIES: Readonly<Record<string, number>> = {
  SCHED_OTHER: 0,
  SCHED_FIFO: 1,
  SCHED_RR: 2,
  SCHED_BATCH: 3,
  SCHED_ISO: 4,
  SCHED_IDLE: 5,
  SCHED_DEADLINE: 6,
};
const FLAGS: Readonly<Record<string, number>> = {
  SCHED_FLAG_RESET_ON_FORK: 0x01,
  SCHED_FLAG_RECLAIM: 0x02,
  SCHED_FLAG_DL_OVERRUN: 0x04,
  SCHED_FLAG_KEEP_POLICY: 0x08,
  SCHED_FLAG_KEEP_PARAMS: 0x10,
  SCHED_FLAG_UTIL_CLAMP_MIN: 0x20,
  SCHED_FLAG_UTIL_CLAMP_MAX: 0x40,
};
const NICE = { least: -20, most: 19 };
const REAL_TIME = new Set(["SCHED_FIFO", "SCHED_RR"]);
/** struct sched_attr with the clamps of utilization (SCHED_ATTR_SIZE_VER1). */
const SCHED_ATTR_SIZE = 56;

/** linux/ioprio.h */
const CLASSES: Readonly<Record<string, number>> = {
  IOPRIO_CLASS_RT: 1,
  IOPRIO_CLASS_BE: 2,
  IOPRIO_CLASS_IDLE: 3,
};
const IOPRIO_CLASS_SHIFT = 13;
const IOPRIO_WHO_PROCESS = 1;
const MAX_IO_PRIORITY = 7;

/** CPUs a mask has room for; no kernel is built for more. */
const CPUS = 8192;

/** Throws "invalid", naming the field. */
export function checkScheduling({ scheduler, ioPriority, execCPUAffinity }: SpecProcess): void {
  if (scheduler !== undefined) checkScheduler(scheduler);
  if (ioPriority !== undefined) ioPriorityValue(ioPriority);
  if (execCPUAffinity?.initial) cpuMask("initial", execCPUAffinity.initial);
  if (execCPUAffinity?.final) cpuMask("final", execCPUAffinity.final);
}

/** Written while the process may still do all that its starter may. */
export function setScheduling(w: ProgramWriter, { scheduler, ioPriority }: SpecProcess): void {
  const { b } = w;
  if (scheduler !== undefined) {
    const attributes = b.bytes(schedulerAttributes(scheduler), 8);
    b.sys("sched_setattr", [0, attributes, 0], { why: `set process.scheduler to ${scheduler.policy}` });
  }
  if (ioPriority !== undefined) {
    b.sys("ioprio_set", [IOPRIO_WHO_PROCESS, 0, ioPriorityValue(ioPriority)], {
      why: `set process.ioPriority to ${ioPriority.class} ${ioPriority.priority ?? 0}`,
    });
  }
}

/** For a process that exec starts, and what it starts. */
export function setCpuAffinity(
  w: ProgramWriter,
  { execCPUAffinity }: SpecProcess,
  when: "initial" | "final",
): void {
  const list = execCPUAffinity?.[when];
  if (!list) return;
  const mask = cpuMask(when, list);
  w.b.sys("sched_setaffinity", [0, mask.length, w.b.bytes(mask, 8)], {
    why: `set process.execCPUAffinity.${when} to ${list}`,
  });
}

function checkScheduler(scheduler: SpecScheduler): void {
  const { policy, nice = 0, priority = 0, flags = [], runtime = 0, deadline = 0, period = 0 } = scheduler;
  if (!policy) throw refuse("scheduler.policy", "is required");
  if (!Object.hasOwn(POLICIES, policy))
    throw refuse("scheduler.policy", `invalid scheduler policy ${JSON.stringify(policy)}`);
  if (!Number.isInteger(nice) || nice < NICE.least || nice > NICE.most)
    throw refuse("scheduler.nice", `invalid: ${nice}`);
  if (!Number.isInteger(priority)) throw refuse("scheduler.priority", `invalid: ${priority}`);
  if (priority !== 0 && !REAL_TIME.has(policy))
    throw refuse("scheduler.priority", "can only be specified for the policies SCHED_FIFO and SCHED_RR");
  for (const [name, value] of Object.entries({ runtime, deadline, period })) {
    if (!Number.isSafeInteger(value) || value < 0) throw refuse(`scheduler.${name}`, `invalid: ${value}`);
    if (value !== 0 && policy !== "SCHED_DEADLINE")
      throw refuse(`scheduler.${name}`, "can only be specified for the policy SCHED_DEADLINE");
  }
  for (const flag of flags) {
    if (!Object.hasOwn(FLAGS, flag)) throw refuse("scheduler.flags", `unknown ${JSON.stringify(flag)}`);
  }
}

/** struct sched_attr */
function schedulerAttributes(scheduler: SpecScheduler): Uint8Array {
  const { policy, nice = 0, priority = 0, flags = [], runtime = 0, deadline = 0, period = 0 } = scheduler;
  const content = new Uint8Array(SCHED_ATTR_SIZE);
  const view = new DataView(content.buffer);
  view.setUint32(0, SCHED_ATTR_SIZE, true);
  view.setUint32(4, POLICIES[policy] ?? 0, true);
  view.setBigUint64(8, BigInt(flags.reduce((bits, flag) => bits | (FLAGS[flag] ?? 0), 0)), true);
  view.setInt32(16, nice, true);
  view.setUint32(20, priority, true);
  view.setBigUint64(24, BigInt(runtime), true);
  view.setBigUint64(32, BigInt(deadline), true);
  view.setBigUint64(40, BigInt(period), true);
  return content;
}

function ioPriorityValue({ class: name, priority = 0 }: NonNullable<SpecProcess["ioPriority"]>): number {
  if (!Object.hasOwn(CLASSES, name))
    throw refuse("ioPriority.class", `invalid io priority class ${JSON.stringify(name)}`);
  if (!Number.isInteger(priority) || priority < 0 || priority > MAX_IO_PRIORITY)
    throw refuse("ioPriority.priority", `invalid: ${priority}, it is from 0 to ${MAX_IO_PRIORITY}`);
  return ((CLASSES[name] ?? 0) << IOPRIO_CLASS_SHIFT) | priority;
}

/** "0-2,5" as the bits that sched_setaffinity takes, no longer than need be. */
function cpuMask(when: string, list: string): Uint8Array {
  const cpus = list.split(",").flatMap((part) => {
    const [, first = "", last = first] = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part) ?? [];
    if (first === "" || Number(last) < Number(first) || Number(last) >= CPUS)
      throw refuse(`execCPUAffinity.${when}`, `${JSON.stringify(list)} is no list of CPUs`);
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, offset) => Number(first) + offset);
  });
  const mask = new Uint8Array(((Math.max(...cpus) >> 6) + 1) * 8);
  for (const cpu of cpus) mask[cpu >> 3] = (mask[cpu >> 3] ?? 0) | (1 << (cpu & 7));
  return mask;
}

function refuse(field: string, message: string): BerthError {
  return new BerthError("invalid", `process.${field}: ${message}`, { operation: "compile process" });
}
