/**
 * A syscall program in readable form, one instruction a line:
 *
 *      7  mkdirat(AT_FDCWD, "/run/x", 0x1ed)    unless EEXIST    # make the run directory
 *
 * For people (`berth debug program`) and golden tests; the format may change whenever it can be made clearer.
 */

import type { Instruction } from "#program/encode-program.ts";
import { errnoName } from "#program/errno.ts";
import { ANY_ERRNO, type Argument, type Label } from "#program/types.ts";

const AT_FDCWD = -100;
/** Longer strings are cut in the listing. */
const STRING_ROOM = 96;
/** Column the labels begin at, where the instruction leaves room. */
const WHY_COLUMN = 72;

type Contents = ReadonlyMap<number, string | readonly string[]>;

/** `places` says which index each label stands before; `contents` what lies at a data offset, where it is text. */
export function formatListing(
  instructions: readonly Instruction[],
  places: ReadonlyMap<Label, number>,
  contents: Contents,
): string {
  const labelsAt = new Map<number, string[]>();
  for (const [label, index] of places) labelsAt.set(index, [...(labelsAt.get(index) ?? []), label.name]);
  const lines: string[] = [];
  instructions.forEach((instruction, index) => {
    for (const name of labelsAt.get(index) ?? []) lines.push(`${name}:`);
    const text = `${String(index).padStart(5)}  ${formatInstruction(instruction, contents)}`;
    lines.push(`${text.padEnd(WHY_COLUMN)}  # ${instruction.why}`);
  });
  return `${lines.join("\n")}\n`;
}

function formatInstruction(instruction: Instruction, contents: Contents): string {
  const { op, into, ignore, full, again, syscall, target, why: _, ...rest } = instruction;
  const args = rest.args.map((argument) => formatArgument(argument, contents)).join(", ");
  const parts: string[] = [];
  if (into !== undefined && op !== "STORE" && op !== "JNZ" && op !== "JNEG") parts.push(`${into.name} =`);
  if (syscall !== undefined) parts.push(`${syscall.name}(${args})`);
  else if (op === "SET") parts.push(args);
  else if (op === "JNZ" || op === "JNEG") parts.push(`${op} ${into?.name}`);
  else if (op === "STORE") parts.push(`STORE ${into?.name} → ${args}`);
  else parts.push(args === "" ? op : `${op} ${args}`);
  if (target !== undefined) parts.push(op === "FORK" ? `child → ${target.name}` : `→ ${target.name}`);
  if (ignore === ANY_ERRNO) parts.push("whatever comes");
  else if (ignore !== undefined && ignore !== 0) parts.push(`unless ${errnoName(ignore)}`);
  if (full) parts.push("in full");
  if (again) parts.push("however raced");
  return parts.join(" ");
}

function formatArgument(argument: Argument, contents: Contents): string {
  if (typeof argument === "bigint" || typeof argument === "number") return formatNumber(BigInt(argument));
  switch (argument.kind) {
    case "register":
      return argument.name;
    case "register-address":
      return `&${argument.register.name}`;
    case "data": {
      const content = contents.get(argument.offset);
      if (content === undefined) return `<${argument.length} bytes>`;
      if (typeof content === "string") return quote(content);
      return `[${content.map(quote).join(", ")}]`;
    }
  }
}

function formatNumber(value: bigint): string {
  if (value === BigInt(AT_FDCWD)) return "AT_FDCWD";
  return value > 9n ? `0x${value.toString(16)}` : value.toString();
}

function quote(text: string): string {
  return JSON.stringify(text.length > STRING_ROOM ? `${text.slice(0, STRING_ROOM)}…` : text);
}
