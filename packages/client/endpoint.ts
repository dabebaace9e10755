/**
 * Where the daemon is: the `-H` flag, BERTH_HOST, DOCKER_HOST, else Berth's own socket; and with which TLS material.
 * Pure: environment in, endpoint out.
 */
import { BerthError } from "#errors/errors.ts";

export const DEFAULT_SOCKET = "/run/berth/berth.sock";

export interface TlsFiles {
  ca: string;
  cert: string;
  key: string;
  /** Refuse a server whose certificate does not fit. */
  verify: boolean;
}

export interface Endpoint {
  /** As the user wrote it, for messages. */
  host: string;
  socketPath?: string;
  address?: { host: string; port: number };
  tls?: TlsFiles;
  /** The user named it: then it is not ours to start a daemon there. */
  explicit: boolean;
}

export interface EndpointFlags {
  host?: string | undefined;
  tls?: boolean;
  tlsVerify?: boolean;
  tlsCaCert?: string | undefined;
  tlsCert?: string | undefined;
  tlsKey?: string | undefined;
}

/** Chooses the endpoint. Throws BerthError "invalid" for a host it cannot read. */
export function chooseEndpoint(flags: EndpointFlags, env: Record<string, string | undefined>): Endpoint {
  const named = flags.host || env.BERTH_HOST || env.DOCKER_HOST;
  const host = named || `unix://${DEFAULT_SOCKET}`;
  const explicit = Boolean(named);
  const unix = /^unix:\/\/(.*)$/.exec(host);
  if (unix) return { host, socketPath: unix[1] || DEFAULT_SOCKET, explicit };
  const tcp = /^(?:(tcp|https?):\/\/)?(\[[0-9a-fA-F:.]+\]|[^:/[\]]*)(?::(\d+))?\/?$/.exec(host);
  if (!tcp) {
    throw new BerthError("invalid", `unable to parse docker host \`${host}\``, {
      operation: "find the daemon",
      object: host,
      hint: "A host looks like unix:///run/berth/berth.sock or tcp://127.0.0.1:2375.",
    });
  }
  const tls = tlsFiles(flags, env) ?? (tcp[1] === "https" ? defaultTls(flags, env, true) : undefined);
  const name = (tcp[2] || "127.0.0.1").replace(/^\[|\]$/g, "");
  return {
    host,
    address: { host: name, port: Number(tcp[3] ?? (tls ? 2376 : 2375)) },
    ...(tls && { tls }),
    explicit,
  };
}

function tlsFiles(flags: EndpointFlags, env: Record<string, string | undefined>): TlsFiles | undefined {
  const verify = flags.tlsVerify || Boolean(env.DOCKER_TLS_VERIFY);
  if (!verify && !flags.tls && !env.DOCKER_TLS) return undefined;
  return defaultTls(flags, env, verify);
}

function defaultTls(
  flags: EndpointFlags,
  env: Record<string, string | undefined>,
  verify: boolean,
): TlsFiles {
  const directory = env.DOCKER_CERT_PATH || `${env.HOME ?? ""}/.docker`;
  return {
    ca: flags.tlsCaCert || `${directory}/ca.pem`,
    cert: flags.tlsCert || `${directory}/cert.pem`,
    key: flags.tlsKey || `${directory}/key.pem`,
    verify,
  };
}
