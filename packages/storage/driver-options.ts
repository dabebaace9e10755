/**
 * `storage-opts` of daemon.json and `--storage-opt`: pairs of key and value, checked by the driver they are meant for, with
 * Docker's texts.
 */

import { BerthError } from "#errors/errors.ts";
import { notBoolean, parseBoolean } from "#go-values/boolean.ts";
import type { SizeOptions } from "#storage/driver-types.ts";

export interface DriverOption {
  /** In small letters: keys are compared so. */
  key: string;
  value: string;
}

/** Docker begins whatever keeps a driver from starting with these words. */
export function cannotStart(driver: string, reason: string, hint?: string, cause?: unknown): BerthError {
  return new BerthError("invalid", `error initializing graphdriver: ${reason}`, {
    operation: "start storage driver",
    object: driver,
    ...(hint === undefined ? {} : { hint }),
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Takes "key=value" apart; spaces around both do not count. */
export function parseDriverOption(driver: string, text: string): DriverOption {
  const equals = text.indexOf("=");
  if (equals < 0) throw cannotStart(driver, `Unable to parse key/value option: ${text}`);
  return { key: text.slice(0, equals).trim().toLowerCase(), value: text.slice(equals + 1).trim() };
}

const sizePattern = /^(\d+(?:\.\d+)*) ?([kmgtp]?)i?b?$/i;
const powers = ["", "k", "m", "g", "t", "p"];

/**
 * Bytes of a size as Docker's flags take them, in powers of 1024: "10", "1.5G", "20 MiB". Undefined if it is none, or more than
 * a number holds exactly (8 PiB): no kernel takes some of those, and Docker makes negative ones of others.
 */
export function parseSize(text: string): number | undefined {
  const match = sizePattern.exec(text);
  const amount = Number(match?.[1]);
  if (match === null || Number.isNaN(amount)) return undefined;
  const bytes = Math.floor(amount * 1024 ** powers.indexOf((match[2] ?? "").toLowerCase()));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The bytes of a size in a driver's options. */
export function checkSize(driver: string, text: string): number {
  const size = parseSize(text);
  if (size === undefined) throw cannotStart(driver, `invalid size: '${text}'`);
  return size;
}

/** The bytes of a container's `--storage-opt size=…`; undefined without one. Throws "invalid" for anything else. */
export function sizeOption(driver: string, options: SizeOptions): number | undefined {
  let size: number | undefined;
  for (const [key, value] of Object.entries(options)) {
    if (key.toLowerCase() !== "size") throw cannotLimit(driver, `Unknown option ${key}`);
    size = parseSize(value);
    if (size === undefined) throw cannotLimit(driver, `invalid size: '${value}'`);
  }
  return size;
}

/** For drivers that have no limits: throws "invalid" where one is asked for. */
export function refuseSize(driver: string, options: SizeOptions, reason?: string, hint?: string): void {
  const names = Object.keys(options);
  if (names.length === 0) return;
  const unknown = names.find((name) => name.toLowerCase() !== "size");
  if (!names.includes("size") && unknown !== undefined)
    throw cannotLimit(driver, `Unknown option ${unknown}`);
  throw cannotLimit(driver, reason ?? `--storage-opt is not supported for ${driver}`, hint);
}

/** Bytes as Docker shows them: four significant digits and a decimal unit, "1.074GB". */
export function showSize(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  return `${Number((bytes / 1000 ** power).toPrecision(4))}${units[power]}`;
}

/** Said where a container's size cannot be limited as asked. */
export function cannotLimit(driver: string, reason: string, hint?: string): BerthError {
  return new BerthError("invalid", reason, {
    operation: "create container",
    object: driver,
    ...(hint === undefined ? {} : { hint }),
  });
}

export function checkBoolean(driver: string, text: string): void {
  if (parseBoolean(text) === undefined) throw cannotStart(driver, notBoolean(text));
}
