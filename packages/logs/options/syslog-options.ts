/** Options of the syslog driver. */
import { existsSync, readFileSync } from "node:fs";
import type { LogOptions } from "#logs/options/container-info.ts";
import { LogOptionError } from "#logs/options/option-values.ts";

export type SyslogFormat = "" | "rfc3164" | "rfc5424" | "rfc5424micro";

/** Where to and how; everything a worker needs. */
export interface SyslogOptions {
  /** "local": the machine's own socket, wherever that is. */
  network: "local" | "udp" | "tcp" | "tcp+tls" | "unix" | "unixgram";
  /** Of udp and tcp. */
  host: string;
  port: number;
  /** Of unix sockets. */
  path: string;
  /** 0 to 23, RFC 5424 table 1. */
  facility: number;
  format: SyslogFormat;
  tls: { ca?: string; cert?: string; key?: string; skipVerify: boolean };
}

const FACILITIES = [
  ..."kern user mail daemon auth syslog lpr news uucp cron authpriv ftp".split(" "),
  ...[12, 13, 14, 15].map(() => ""),
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((n) => `local${n}`),
];
const DAEMON = 3;
const DEFAULT_PORT = 514;

/** What is refused when the container is created. */
export function checkSyslogOptions(options: LogOptions): void {
  const { network, path } = address(options["syslog-address"]);
  if ((network === "unix" || network === "unixgram") && !existsSync(path))
    throw new LogOptionError(`stat ${path}: no such file or directory`);
  facility(options["syslog-facility"]);
  format(options["syslog-format"]);
}

/** All of it; throws LogOptionError. */
export function syslogOptions(options: LogOptions): SyslogOptions {
  const where = address(options["syslog-address"]);
  if (where.port > 65535) {
    const protocol = where.network === "udp" ? "udp" : "tcp";
    throw new LogOptionError(`dial ${protocol}: address ${where.port}: invalid port`);
  }
  const { ca, cert, key } = {
    ca: file(options["syslog-tls-ca-cert"], "could not read CA certificate"),
    cert: file(options["syslog-tls-cert"], "Could not load X509 key pair"),
    key: file(options["syslog-tls-key"], "Could not load X509 key pair"),
  };
  return {
    ...where,
    facility: facility(options["syslog-facility"]),
    format: format(options["syslog-format"]),
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      // Docker takes whatever is set as yes.
      skipVerify: options["syslog-tls-skip-verify"] !== undefined,
    },
  };
}

function address(text: string | undefined): Pick<SyslogOptions, "network" | "host" | "port" | "path"> {
  if (text === undefined || text === "") return { network: "local", host: "", port: 0, path: "" };
  const match = /^(udp|tcp|tcp\+tls|unix|unixgram):\/\/(.*)$/.exec(text);
  if (match === null) {
    throw new LogOptionError(`syslog-address should be in form proto://address, got ${text}`);
  }
  const network = match[1] as SyslogOptions["network"];
  const rest = match[2] ?? "";
  if (network === "unix" || network === "unixgram") {
    return { network, host: "", port: 0, path: rest.includes("/") ? rest.slice(rest.indexOf("/")) : "" };
  }
  const { host, port } = splitHostPort(rest);
  return { network, host, port: port === "" ? DEFAULT_PORT : Number(port), path: "" };
}

/** "host:port", "[::1]:port", or without port. */
export function splitHostPort(text: string): { host: string; port: string } {
  const match = /^(?:\[([^\]]*)\]|([^:/]*))(?::(\d*))?(?:\/.*)?$/.exec(text);
  return { host: match?.[1] ?? match?.[2] ?? "", port: match?.[3] ?? "" };
}

function facility(text: string | undefined): number {
  if (text === undefined || text === "") return DAEMON;
  const named = FACILITIES.indexOf(text);
  if (named >= 0) return named;
  if (/^\d+$/.test(text) && Number(text) < FACILITIES.length) return Number(text);
  throw new LogOptionError("invalid syslog facility");
}

function format(text = ""): SyslogFormat {
  if (["", "rfc3164", "rfc5424", "rfc5424micro"].includes(text)) return text as SyslogFormat;
  throw new LogOptionError("Invalid syslog format");
}

function file(path: string | undefined, what: string): string | undefined {
  if (path === undefined || path === "") return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch {
    throw new LogOptionError(`${what} ${JSON.stringify(path)}: open ${path}: no such file or directory`);
  }
}
