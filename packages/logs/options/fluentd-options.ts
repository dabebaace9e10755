/** Options of the fluentd driver. Pure. */
import type { RetryPlan } from "#logs/delivery.ts";
import type { LogOptions } from "#logs/options/container-info.ts";
import {
  LogOptionError,
  parseBool,
  parseInteger,
  parseMilliseconds,
  parseSize,
} from "#logs/options/option-values.ts";

export interface FluentdOptions {
  network: "tcp" | "tls" | "unix";
  host: string;
  port: number;
  path: string;
  /** Wait for the other side's word that it has an event. */
  acknowledge: boolean;
  subSecond: boolean;
  /** How often to try again. */
  retry: RetryPlan;
  /** Bytes that may wait where nobody is to be kept waiting for the other side; undefined for any number. */
  bufferLimit: number | undefined;
}

const PORT = 24224;
/** Between attempts, ms, as fluentd's own client for Go has it: the first, and the longest of those that grow. */
const RETRY_WAIT = 1000;
const LONGEST_WAIT = 60_000;
const SHORTEST_WAIT = 10;

export function fluentdOptions(options: LogOptions): FluentdOptions {
  const where = address(options["fluentd-address"] ?? "");
  const value = <T>(name: string, parse: (text: string) => T): T | undefined => {
    const text = options[name];
    return text === undefined || text === "" ? undefined : parse(text);
  };
  const limit = value("fluentd-buffer-limit", (text) => parseSize(text, 1024));
  const times = value("fluentd-max-retries", (text) => parseInteger(text, "ParseUint"));
  const first = value("fluentd-retry-wait", parseMilliseconds) ?? RETRY_WAIT;
  if (options["fluentd-async"] !== undefined && options["fluentd-async-connect"] !== undefined) {
    throw new LogOptionError(
      "conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect",
    );
  }
  const asynchronous = value("fluentd-async", parseBool) ?? value("fluentd-async-connect", parseBool);
  value("fluentd-async-reconnect-interval", parseMilliseconds);
  value("fluentd-write-timeout", parseMilliseconds);
  return {
    ...where,
    // Never without a pause, whatever is asked for.
    retry: { first: Math.max(first, SHORTEST_WAIT), longest: Math.max(first, LONGEST_WAIT), times },
    bufferLimit: asynchronous ? limit : undefined,
    acknowledge: value("fluentd-request-ack", parseBool) ?? false,
    subSecond: value("fluentd-sub-second-precision", parseBool) ?? false,
  };
}

function address(text: string): Pick<FluentdOptions, "network" | "host" | "port" | "path"> {
  if (text.startsWith("unix://")) {
    return { network: "unix", host: "", port: 0, path: text.slice("unix://".length) };
  }
  const network = text.startsWith("tls://") ? "tls" : "tcp";
  const [scheme] = /^[a-z]+:\/\//.exec(text) ?? [""];
  if (scheme !== "" && scheme !== "tcp://" && scheme !== "tls://") {
    const rest = text.slice(text.indexOf(":") + 1);
    throw bad(text, `strconv.Atoi: parsing ${JSON.stringify(rest)}: invalid syntax`);
  }
  const match = /^(?:\[([^\]]*)\]|([^:/]*))(?::([^/]*))?(?:\/.*)?$/.exec(text.slice(scheme.length));
  if (match === null) throw bad(text, `address ${text}: too many colons in address`);
  const port = match[3] ?? "";
  if (port !== "" && !/^\d{1,5}$/.test(port)) {
    throw bad(text, `parse ${JSON.stringify(text)}: invalid port ${JSON.stringify(`:${port}`)} after host`);
  }
  const host = match[1] ?? match[2] ?? "";
  return {
    network,
    host: host === "" || text === host ? "127.0.0.1" : host,
    port: Number(port || PORT),
    path: "",
  };
}

function bad(address_: string, why: string): LogOptionError {
  return new LogOptionError(`invalid fluentd-address ${address_}: ${why}`);
}
