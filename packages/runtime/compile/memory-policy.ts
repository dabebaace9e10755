/** `linux.memoryPolicy` (config-linux.md): from which memory nodes the container's memory comes. Pure. */
import { BerthError } from "#errors/errors.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { SpecLinux } from "#runtime/spec-types.ts";

/** linux/mempolicy.h */
const MODES: Readonly<Record<string, number>> = {
  MPOL_DEFAULT: 0,
  MPOL_PREFERRED: 1,
  MPOL_BIND: 2,
  MPOL_INTERLEAVE: 3,
  MPOL_LOCAL: 4,
  MPOL_PREFERRED_MANY: 5,
  MPOL_WEIGHTED_INTERLEAVE: 6,
};
const FLAGS: Readonly<Record<string, number>> = {
  MPOL_F_NUMA_BALANCING: 1 << 13,
  MPOL_F_RELATIVE_NODES: 1 << 14,
  MPOL_F_STATIC_NODES: 1 << 15,
};
/** Nodes a mask has room for; kernels are built for at most 1024. */
const NODES = 1024;

export const MEMORY_POLICY_MODES: readonly string[] = Object.keys(MODES);
export const MEMORY_POLICY_FLAGS: readonly string[] = Object.keys(FLAGS);

type MemoryPolicy = NonNullable<SpecLinux["memoryPolicy"]>;

/** For the process itself and all that it starts. Throws "invalid" for unknown names and nodes that are no list. */
export function setMemoryPolicy(w: ProgramWriter, { mode, nodes, flags = [] }: MemoryPolicy): void {
  const number = Object.hasOwn(MODES, mode) ? MODES[mode] : undefined;
  if (number === undefined) throw refuse(`mode: unknown ${JSON.stringify(mode)}`);
  const bits = flags.map((flag) => {
    const bit = Object.hasOwn(FLAGS, flag) ? FLAGS[flag] : undefined;
    if (bit === undefined) throw refuse(`flags: unknown ${JSON.stringify(flag)}`);
    return bit;
  });
  const list = nodeList(nodes);
  const value = bits.reduce((all, bit) => all | bit, number);
  const why = `set memory policy ${mode}`;
  if (list.length === 0) {
    w.b.sys("set_mempolicy", [value, 0, 0], { why });
    return;
  }
  const mask = new Uint8Array(NODES / 8);
  for (const node of list) mask[node >> 3] = (mask[node >> 3] ?? 0) | (1 << (node & 7));
  // The kernel counts one bit more than there are.
  w.b.sys("set_mempolicy", [value, w.b.bytes(mask, 8), NODES + 1], { why });
}

/** "0-2,5" → 0, 1, 2, 5. */
function nodeList(text: string): number[] {
  if (text.trim() === "") return [];
  return text.split(",").flatMap((part) => {
    const [, first = "", last = first] = /^\s*(\d{1,4})(?:-(\d{1,4}))?\s*$/.exec(part) ?? [];
    if (first === "" || Number(last) < Number(first) || Number(last) >= NODES) {
      throw refuse(`nodes: ${JSON.stringify(text)} is no list of memory nodes`);
    }
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, offset) => Number(first) + offset);
  });
}

function refuse(message: string): BerthError {
  return new BerthError("invalid", `linux.memoryPolicy.${message}`, { operation: "compile container" });
}
