/** Resource limits by name, and `--ulimit` values as the OCI configuration has them. Pure. */
import { BerthError } from "#errors/errors.ts";
import type { SpecProcess } from "#runtime/spec-types.ts";

/** Numbers of asm-generic/resource.h, the same on x86 and ARM. */
const numbers: Record<string, number> = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
};

/** RLIM_INFINITY of a 64-bit kernel. */
const INFINITY = 0xffff_ffff_ffff_ffffn;
/** The same in a configuration: the number that JSON's 18446744073709551615 is read as. */
const UNLIMITED = 2 ** 64;

/** 7 for "RLIMIT_NOFILE". Throws "invalid" for a name that is none. */
export function rlimitNumber(type: string): number {
  const number = Object.hasOwn(numbers, type) ? numbers[type] : undefined;
  if (number === undefined) {
    throw new BerthError("invalid", `invalid rlimit type: ${type}`, { operation: "set resource limits" });
  }
  return number;
}

/** A limit as the kernel takes it. */
export function rlimitValue(value: number): bigint {
  return value >= UNLIMITED ? INFINITY : BigInt(value);
}

/** Throws "invalid", naming the entry of `process.rlimits` that is unknown, there twice, or no pair of limits. */
export function checkRlimits(rlimits: NonNullable<SpecProcess["rlimits"]>): void {
  const seen = new Set<string>();
  rlimits.forEach(({ type, soft, hard }, index) => {
    const refuse = (message: string) => invalid(`process.rlimits[${index}]: ${message}`);
    if (!Object.hasOwn(numbers, type)) throw refuse(`invalid rlimit type: ${type}`);
    if (seen.has(type)) throw refuse(`${type} is there twice`);
    seen.add(type);
    for (const [name, value] of Object.entries({ soft, hard })) {
      if (!Number.isInteger(value) || value < 0 || value > UNLIMITED)
        throw refuse(`${name} limit ${value} of ${type} is not a number from 0 to 2^64-1`);
    }
    if (soft > hard) throw refuse(`soft limit ${soft} of ${type} is greater than its hard limit ${hard}`);
  });
}

/** Docker's ulimits ("nofile" 1024:2048) as OCI rlimits. Throws "invalid" with Docker's texts. */
export function rlimitsFromUlimits(
  ulimits: readonly { Name: string; Soft: number; Hard: number }[],
): NonNullable<SpecProcess["rlimits"]> {
  return ulimits.map(({ Name, Soft, Hard }) => {
    const type = `RLIMIT_${Name.toUpperCase()}`;
    if (!Object.hasOwn(numbers, type)) throw invalid(`invalid ulimit type: ${Name}`);
    if (Hard >= 0 && (Soft < 0 || Soft > Hard)) {
      throw invalid(`ulimit soft limit must be less than or equal to hard limit: ${Soft} > ${Hard}`);
    }
    const limit = (value: number) => (value < 0 ? UNLIMITED : value);
    return { type, soft: limit(Soft), hard: limit(Hard) };
  });
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "set resource limits" });
}
