/** The forms in which the kernel writes counters into files of control groups. Reading is all that isn't pure here. */
import { readFileSync } from "node:fs";
import { hasCode, isGone } from "#runtime/cgroups/processes.ts";

/** A bigint only where a number would not be exact. */
export type Counter = number | bigint;

/** "no limit" of version 2, as runc tells it. */
const LARGEST = 0xffff_ffff_ffff_ffffn;

/** Content of a file; "" if there is none, or the kernel doesn't count that. */
export function readStat(directory: string | undefined, file: string): string {
  if (directory === undefined) return "";
  try {
    return readFileSync(`${directory}/${file}`, "utf8");
  } catch (error) {
    if (isGone(error) || hasCode(error, "EOPNOTSUPP", "ENOTSUP", "EINVAL")) return "";
    throw error;
  }
}

/** "max" is the largest number; what isn't there is 0. */
export function counter(text: string): Counter {
  const trimmed = text.trim();
  if (trimmed === "max") return LARGEST;
  if (!/^-?\d+$/.test(trimmed)) return 0;
  const number = Number(trimmed);
  return Number.isSafeInteger(number) ? number : BigInt(trimmed);
}

export function sum(one: Counter, other: Counter): Counter {
  if (one === LARGEST || other === LARGEST) return LARGEST;
  return typeof one === "number" && typeof other === "number" ? one + other : BigInt(one) + BigInt(other);
}

/** "name 12" lines. */
export function keyed(text: string): Record<string, Counter> {
  return Object.fromEntries(
    text
      .split("\n")
      .filter(Boolean)
      .map((line) => {
        const space = line.indexOf(" ");
        return [line.slice(0, space), counter(line.slice(space + 1))];
      }),
  );
}

/** "0-2,5" → [0, 1, 2, 5] */
export function numberList(text: string): number[] {
  return text
    .trim()
    .split(",")
    .filter(Boolean)
    .flatMap((part) => {
      const [from = 0, to = from] = part.split("-").map(Number);
      return Array.from({ length: to - from + 1 }, (_, index) => from + index);
    });
}

export interface PressureLine {
  avg10: number;
  avg60: number;
  avg300: number;
  /** µs */
  total: Counter;
}

export interface Pressure {
  some?: PressureLine;
  full?: PressureLine;
}

/** "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"; undefined where the kernel doesn't measure it. */
export function pressure(text: string): Pressure | undefined {
  const found: Pressure = {};
  for (const line of text.split("\n")) {
    const [kind, ...fields] = line.trim().split(" ");
    if (kind !== "some" && kind !== "full") continue;
    const values = Object.fromEntries(fields.map((field) => field.split("=") as [string, string]));
    found[kind] = {
      avg10: Number(values.avg10),
      avg60: Number(values.avg60),
      avg300: Number(values.avg300),
      total: counter(values.total ?? ""),
    };
  }
  return found.some === undefined && found.full === undefined ? undefined : found;
}
