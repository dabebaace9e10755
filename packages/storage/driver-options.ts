/**
 * `storage-opts` of daemon.json and `--storage-opt`: pairs of key and value, checked by the driver they are meant for, with
 * Docker's texts.
 */

import { BerthError } from "#errors/errors.ts";
import { notBoolean, parseBoolean } from "#go-values/boolean.ts";
import { parseSize } from "#go-values/size.ts";
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
