/** How large a container's log files may become and how many there may be; of each driver what it keeps. Pure. */

import type { LogFormName } from "#logs/log-types.ts";
import type { LogOptions } from "#logs/options/container-info.ts";
import { LogOptionError, parseBool, parseInteger, parseSize } from "#logs/options/option-values.ts";

export interface LogFilePlan {
  form: LogFormName;
  /** Bytes of one file; undefined: it is never rotated. */
  limit: number | undefined;
  /** The current one included. */
  files: number;
  compress: boolean;
}

/** Docker's of the local driver and of what is kept for the others: five files of 20 MiB, compressed. */
const LOCAL_LIMIT = 20 * 1024 * 1024;
const LOCAL_FILES = 5;
/** What is passed on and not kept needs no large files. */
const UNKEPT_LIMIT = 1024 * 1024;

export function jsonFilePlan(options: LogOptions): LogFilePlan {
  const size = options["max-size"];
  const limit = size === undefined ? undefined : parseSize(size, 1000);
  if (limit !== undefined && limit <= 0) throw new LogOptionError("max-size must be a positive number");
  const count = options["max-file"];
  const files = count === undefined ? 1 : parseInteger(count);
  if (files < 1) throw new LogOptionError("max-file cannot be less than 1");
  const compress = options.compress !== undefined && parseBool(options.compress);
  if (compress && (files < 2 || limit === undefined)) {
    throw new LogOptionError("compress cannot be true when max-file is less than 2 or max-size is not set");
  }
  return { form: "json-file", limit, files, compress };
}

export function localPlan(options: LogOptions): LogFilePlan {
  const size = options["max-size"];
  const limit =
    size === undefined
      ? LOCAL_LIMIT
      : about(`invalid value for max-size: ${size}`, () => parseSize(size, 1024));
  const count = options["max-file"];
  const files =
    count === undefined
      ? LOCAL_FILES
      : about(`invalid value for max-file: ${count}`, () => parseInteger(count));
  const wanted = options.compress;
  const compress =
    wanted === undefined || about("error reading compress log option", () => parseBool(wanted));
  if (files < 0) throw new LogOptionError("max file count cannot be less than 0");
  if (compress && files <= 1) {
    throw new LogOptionError("compression cannot be enabled when max file count is 1");
  }
  return { form: "local", limit: limit === 0 ? undefined : limit, files: Math.max(1, files), compress };
}

/** What is kept of a driver that passes everything on: Docker's cache; undefined if nothing is to be. */
export function cachePlan(options: LogOptions): LogFilePlan | undefined {
  if (options["cache-disabled"] !== undefined && parseBool(options["cache-disabled"])) return undefined;
  const cache = Object.entries({
    "max-size": options["cache-max-size"],
    "max-file": options["cache-max-file"],
    compress: options["cache-compress"],
  }).filter((entry): entry is [string, string] => entry[1] !== undefined);
  try {
    return localPlan(Object.fromEntries(cache));
  } catch {
    // Docker goes on without these, too.
    return localPlan({});
  }
}

/** Files that are there until everything in them has been passed on. */
export const UNKEPT: LogFilePlan = { form: "local", limit: UNKEPT_LIMIT, files: 1, compress: false };

function about<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new LogOptionError(`${what}: ${(error as Error).message}`);
  }
}
