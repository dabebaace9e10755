/** Options of the gelf driver. Pure. */
import type { LogOptions } from "#logs/options/container-info.ts";
import { LogOptionError } from "#logs/options/option-values.ts";
import { splitHostPort } from "#logs/options/syslog-options.ts";

export interface GelfOptions {
  network: "udp" | "tcp";
  host: string;
  port: number;
  compression: "gzip" | "zlib" | "none";
  /** zlib's, -1 to 9. */
  level: number;
}

const FASTEST = 1;

export function gelfOptions(options: LogOptions): GelfOptions {
  const text = options["gelf-address"];
  if (text === undefined || text === "") throw new LogOptionError("gelf-address is a required parameter");
  const match = /^(udp|tcp):\/\/(.*)$/.exec(text);
  if (match === null) {
    throw new LogOptionError(`gelf-address should be in form proto://address, got ${text}`);
  }
  const { host, port } = splitHostPort(match[2] ?? "");
  if (port === "") throw new LogOptionError("gelf: please provide gelf-address as proto://host:port");
  const network = match[1] as "udp" | "tcp";
  const type = options["gelf-compression-type"];
  const level = options["gelf-compression-level"];
  if (network === "tcp" && (type !== undefined || level !== undefined)) {
    throw new LogOptionError("compression is only supported on UDP");
  }
  if (type !== undefined && !["gzip", "zlib", "none"].includes(type)) throw unknown("type", type);
  if (level !== undefined && (!/^-?\d+$/.test(level) || Number(level) < -1 || Number(level) > 9)) {
    throw unknown("level", level);
  }
  for (const name of ["gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"]) {
    const value = options[name];
    if (value === undefined) continue;
    if (network === "udp") throw new LogOptionError(`"${name}" is only valid for TCP`);
    if (!/^\d+$/.test(value)) throw new LogOptionError(`"${name}" must be a positive integer`);
  }
  return {
    network,
    host,
    port: Number(port),
    compression: (type ?? "gzip") as GelfOptions["compression"],
    level: level === undefined ? FASTEST : Number(level),
  };
}

function unknown(what: string, value: string): LogOptionError {
  return new LogOptionError(
    `unknown value ${JSON.stringify(value)} for log opt "gelf-compression-${what}" for gelf log driver`,
  );
}
