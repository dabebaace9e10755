/** Where to listen, as -H and daemon.json say it. Pure. */
import { isIP } from "node:net";
import { BerthError } from "#errors/errors.ts";

export type HostAddress =
  | { kind: "unix"; path: string }
  | { kind: "tcp"; host: string; port: number }
  /** A listening descriptor passed in by a service manager; undefined for all of them. */
  | { kind: "fd"; which: string | undefined };

const defaultPort = 2375;
const defaultTlsPort = 2376;

/**
 * "unix:///path", "tcp://host:port", "tcp://:port" (every interface), "fd://", "/path", "host:port". Throws
 * "invalid".
 */
export function parseHost(text: string, tls: boolean): HostAddress {
  const [, scheme = text.startsWith("/") ? "unix" : "tcp", rest = ""] =
    /^(?:([a-z]+):\/\/)?(.*)$/s.exec(text) ?? [];
  switch (scheme) {
    case "unix":
      if (!rest.startsWith("/")) throw invalid(text, "a unix socket needs an absolute path");
      return { kind: "unix", path: rest };
    case "fd":
      return { kind: "fd", which: rest === "" || rest === "*" ? undefined : rest };
    case "tcp":
      return parseTcp(text, rest, tls);
    default:
      throw invalid(text, `unknown scheme ${scheme}`);
  }
}

function parseTcp(text: string, rest: string, tls: boolean): HostAddress {
  const found = /^(\[[0-9a-fA-F:.%]*\]|[^:/[\]]*)(?::([0-9]+))?\/?$/.exec(rest);
  if (found === null) throw invalid(text, "it must be tcp://host:port");
  const [, host = "", port] = found;
  const number = port === undefined ? (tls ? defaultTlsPort : defaultPort) : Number(port);
  if (number > 65535) throw invalid(text, "a port is at most 65535");
  const bare = host.replace(/^\[|\]$/g, "");
  return { kind: "tcp", host: bare === "" ? "::" : bare, port: number };
}

/** Does only this machine reach it? */
export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1") return true;
  return isIP(host) === 4 && host.startsWith("127.");
}

function invalid(text: string, reason: string): BerthError {
  return new BerthError("invalid", `invalid address to listen on, "${text}": ${reason}`, {
    operation: "listen",
    object: text,
  });
}
