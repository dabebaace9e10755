/**
 * Which drivers there are, which options each takes, and what is refused when a container is created; the rest is found
 * out when it starts. Texts are Docker's. Pure, but for looking whether a socket is there.
 */

import type { LogOptions } from "#logs/options/container-info.ts";
import { fluentdOptions } from "#logs/options/fluentd-options.ts";
import { gelfOptions } from "#logs/options/gelf-options.ts";
import { LogOptionError, parseBool, parseSize } from "#logs/options/option-values.ts";
import { checkSyslogOptions } from "#logs/options/syslog-options.ts";

const ABOUT_CONTAINER = ["labels", "labels-regex", "env", "env-regex", "tag"];

interface Driver {
  options: readonly string[];
  unknown: (option: string) => string;
  /** Before the names of options are looked at. */
  first?: (options: LogOptions) => void;
  check?: (options: LogOptions) => void;
}

const usual = (driver: string) => (option: string) => `unknown log opt '${option}' for ${driver} log driver`;

const DRIVERS: Record<string, Driver> = {
  fluentd: {
    options: [
      ...ABOUT_CONTAINER,
      "fluentd-address",
      "fluentd-async",
      "fluentd-async-connect",
      "fluentd-async-reconnect-interval",
      "fluentd-buffer-limit",
      "fluentd-max-retries",
      "fluentd-request-ack",
      "fluentd-retry-wait",
      "fluentd-sub-second-precision",
      "fluentd-write-timeout",
    ],
    unknown: usual("fluentd"),
    check: (options) => void fluentdOptions(options),
  },
  gelf: {
    options: [
      ...ABOUT_CONTAINER,
      "gelf-address",
      "gelf-compression-level",
      "gelf-compression-type",
      "gelf-tcp-max-reconnect",
      "gelf-tcp-reconnect-delay",
    ],
    unknown: (option) => `unknown log opt ${JSON.stringify(option)} for gelf log driver`,
    first: (options) => void gelfOptions(options),
  },
  journald: { options: ABOUT_CONTAINER, unknown: usual("journald") },
  "json-file": {
    options: [...ABOUT_CONTAINER, "max-file", "max-size", "compress"],
    unknown: usual("json-file"),
  },
  local: {
    options: ["max-file", "max-size", "compress"],
    unknown: (option) => `unknown log opt '${option}' for log driver local`,
  },
  splunk: {
    options: [
      ...ABOUT_CONTAINER,
      "splunk-url",
      "splunk-token",
      "splunk-source",
      "splunk-sourcetype",
      "splunk-index",
      "splunk-capath",
      "splunk-caname",
      "splunk-insecureskipverify",
      "splunk-format",
      "splunk-verify-connection",
      "splunk-gzip",
      "splunk-gzip-level",
      "splunk-index-acknowledgment",
    ],
    unknown: usual("splunk"),
  },
  syslog: {
    options: [
      ...ABOUT_CONTAINER,
      "syslog-address",
      "syslog-facility",
      "syslog-tls-ca-cert",
      "syslog-tls-cert",
      "syslog-tls-key",
      "syslog-tls-skip-verify",
      "syslog-format",
    ],
    unknown: usual("syslog"),
    check: checkSyslogOptions,
  },
};

/** Names of all drivers, as `docker info` lists them. `none` is not one of them. */
export const LOG_DRIVERS: readonly string[] = Object.keys(DRIVERS).sort();

/** Options of every driver: how output gets to it, and what is kept for `docker logs`. */
const COMMON = [
  "mode",
  "max-buffer-size",
  "cache-disabled",
  "cache-max-size",
  "cache-max-file",
  "cache-compress",
];

/** Throws LogOptionError for a driver or option that isn't there, and for values that are refused this early. */
export function checkLogOptions(driver: string, options: LogOptions): void {
  if (driver === "none") return;
  checkMode(options);
  if (options["cache-disabled"] !== undefined) checkCacheDisabled(options["cache-disabled"]);
  const known = Object.hasOwn(DRIVERS, driver) ? DRIVERS[driver] : undefined;
  if (known === undefined) {
    throw new LogOptionError(
      `error looking up logging plugin ${driver}: plugin ${JSON.stringify(driver)} not found`,
    );
  }
  known.first?.(options);
  for (const option of Object.keys(options)) {
    if (!COMMON.includes(option) && !known.options.includes(option))
      throw new LogOptionError(known.unknown(option));
  }
  known.check?.(options);
}

function checkMode(options: LogOptions): void {
  const { mode = "" } = options;
  if (!["", "blocking", "non-blocking"].includes(mode))
    throw new LogOptionError(`logger: logging mode not supported: ${mode}`);
  const size = options["max-buffer-size"];
  if (size === undefined) return;
  if (mode !== "non-blocking") {
    throw new LogOptionError("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  }
  try {
    parseSize(size, 1024);
  } catch (error) {
    throw new LogOptionError(`error parsing option max-buffer-size: ${(error as Error).message}`);
  }
}

function checkCacheDisabled(text: string): void {
  try {
    parseBool(text);
  } catch {
    throw new LogOptionError(`invalid value for option cache-disabled: ${text}`);
  }
}

/** A container's driver and options, completed by the daemon's: its options only where it is the same driver. */
export function completeLogConfig(
  given: { Type?: string; Config?: Record<string, string> | null } | undefined,
  byDefault: { driver: string; options: LogOptions },
): { Type: string; Config: Record<string, string> } {
  const Type = given?.Type || byDefault.driver;
  const same = Type === byDefault.driver;
  const inherited = Object.entries(byDefault.options).filter(([key]) => same || key.startsWith("cache-"));
  return { Type, Config: { ...Object.fromEntries(inherited), ...given?.Config } };
}
