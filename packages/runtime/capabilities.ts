/**
 * Capability names, numbers and sets, and how `--cap-add` and `--cap-drop` make a container's set. Pure.
 *
 * Numbers are those of linux/capability.h. What the kernel or the daemon itself lacks is left out by the compiler, not
 * here: the names in a container's configuration are the same on every host.
 */
import { BerthError } from "#errors/errors.ts";

/** Every capability, its position being its number. */
export const CAPABILITIES = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_DAC_READ_SEARCH",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETPCAP",
  "CAP_LINUX_IMMUTABLE",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_BROADCAST",
  "CAP_NET_ADMIN",
  "CAP_NET_RAW",
  "CAP_IPC_LOCK",
  "CAP_IPC_OWNER",
  "CAP_SYS_MODULE",
  "CAP_SYS_RAWIO",
  "CAP_SYS_CHROOT",
  "CAP_SYS_PTRACE",
  "CAP_SYS_PACCT",
  "CAP_SYS_ADMIN",
  "CAP_SYS_BOOT",
  "CAP_SYS_NICE",
  "CAP_SYS_RESOURCE",
  "CAP_SYS_TIME",
  "CAP_SYS_TTY_CONFIG",
  "CAP_MKNOD",
  "CAP_LEASE",
  "CAP_AUDIT_WRITE",
  "CAP_AUDIT_CONTROL",
  "CAP_SETFCAP",
  "CAP_MAC_OVERRIDE",
  "CAP_MAC_ADMIN",
  "CAP_SYSLOG",
  "CAP_WAKE_ALARM",
  "CAP_BLOCK_SUSPEND",
  "CAP_AUDIT_READ",
  "CAP_PERFMON",
  "CAP_BPF",
  "CAP_CHECKPOINT_RESTORE",
] as const;

/** What a container has unless told otherwise: Docker's fourteen. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FSETID",
  "CAP_FOWNER",
  "CAP_MKNOD",
  "CAP_NET_RAW",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETFCAP",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_CHROOT",
  "CAP_KILL",
  "CAP_AUDIT_WRITE",
];

const ALL = "ALL";
const numbers = new Map<string, number>(CAPABILITIES.map((name, number) => [name, number]));

/** 21 for "CAP_SYS_ADMIN"; undefined for a name that is none. */
export function capabilityNumber(name: string): number | undefined {
  return numbers.get(name);
}

/**
 * The set for `--cap-add` and `--cap-drop` on top of Docker's default. Names in any case, with or without CAP_, and ALL.
 * Throws "invalid" for an unknown name.
 */
export function resolveCapabilities(request: {
  add: readonly string[];
  drop: readonly string[];
  privileged: boolean;
}): string[] {
  const add = request.add.map((name) => normalize(name, "CapAdd"));
  const drop = request.drop.map((name) => normalize(name, "CapDrop"));
  if (request.privileged) return [...CAPABILITIES];
  if (add.includes(ALL)) return CAPABILITIES.filter((name) => !drop.includes(name));
  if (drop.includes(ALL)) return [...new Set(add)];
  const kept = DEFAULT_CAPABILITIES.filter((name) => !drop.includes(name));
  return [...new Set([...kept, ...add])];
}

function normalize(given: string, field: string): string {
  const upper = given.trim().toUpperCase();
  if (upper === ALL) return ALL;
  const name = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
  if (!numbers.has(name)) {
    throw new BerthError("invalid", `invalid ${field}: unknown capability: "${name}"`, {
      operation: "resolve capabilities",
      hint: "capabilities(7) has the list; ALL stands for every one",
    });
  }
  return name;
}

/** Those of the names that the mask doesn't have: what a container's configuration asks for in vain. */
export function missingCapabilities(names: readonly string[], available: bigint): string[] {
  return [...new Set(names)].filter((name) => {
    const number = numbers.get(name);
    return number !== undefined && (available & (1n << BigInt(number))) === 0n;
  });
}

/**
 * Bit mask of the names. Unknown names are an error; those above `last` (the kernel's CAP_LAST_CAP) are left out, as a
 * set made for a newer kernel asks for less here, never for more.
 */
export function capabilityMask(names: readonly string[], last: number): bigint {
  let mask = 0n;
  for (const name of names) {
    const number = numbers.get(name);
    if (number === undefined) {
      throw new BerthError("invalid", `unknown capability: "${name}"`, { operation: "resolve capabilities" });
    }
    if (number <= last) mask |= 1n << BigInt(number);
  }
  return mask;
}
