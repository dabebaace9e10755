/** The file a shim leaves behind when its main process has ended: `<wait status> <seconds> <nanoseconds>\n`. */
import { readFile } from "node:fs/promises";
import type { ExitRecord } from "#program/launcher-client.types.ts";
import { throughShortage } from "#program/shortage.ts";
import { decodeWaitStatus } from "#program/wait-status.ts";

const NANOSECONDS = 1_000_000_000n;

/** The record of a wait status and a time in nanoseconds since the epoch. */
export function exitRecord(status: number, at: bigint): ExitRecord {
  return { ...decodeWaitStatus(status), at };
}

/** What is known of a process whose shim went without a word: taken for killed, now. */
export function vanishedRecord(): ExitRecord {
  return { exitCode: 137, signal: 9, at: BigInt(Date.now()) * 1_000_000n };
}

/** Undefined for text that isn't an exit record. */
export function parseExitRecord(text: string): ExitRecord | undefined {
  const match = /^(\d{1,10}) (\d{1,15}) (\d{1,9})\n$/.exec(text);
  if (match === null) return undefined;
  const [, status = "", seconds = "", nanoseconds = ""] = match;
  return exitRecord(Number(status), BigInt(seconds) * NANOSECONDS + BigInt(nanoseconds));
}

/** Undefined if there is none, or none that can be read. */
export async function readExitRecord(path: string): Promise<ExitRecord | undefined> {
  try {
    return parseExitRecord(await throughShortage(() => readFile(path, "utf8")));
  } catch {
    // No record is an answer: the shim ended before it could write one.
    return undefined;
  }
}
