/**
 * How a registry is reached: what TLS trusts, which client certificate it shows, which proxy stands between.
 *
 * A `Transport` is plain data, so that it can be handed to a worker thread; each thread keeps connections by its key.
 * Certificates are looked for as Docker does (`certs.d/<host:port>/*.crt, *.cert, *.key`). Never logs what it reads.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import { join } from "node:path";
import { createSecureContext, getCACertificates, type SecureContext } from "node:tls";
import { isMainThread, Worker } from "node:worker_threads";
import { BerthError } from "#errors/errors.ts";
import { type ProxySettings, proxyFor } from "./proxy.ts";

export interface Transport {
  /** Accept any certificate, and redirects to clear text. */
  insecure: boolean;
  /** PEM of authorities trusted besides the system's. */
  authorities: string[];
  clients: { cert: string; key: string }[];
  proxy: ProxySettings;
  /** Milliseconds without a byte before a connection counts as dead. */
  patience: number;
  /** Says which transports may share connections. */
  key: string;
}

/** Docker's limit for connecting, and its mirrors' for answering. */
export const defaultPatience = 30_000;

/** Where certificates are looked for, first hit first. */
export const certificateDirectories = ["/etc/berth/certs.d", "/etc/docker/certs.d"];

export interface TransportOptions {
  insecure: boolean;
  proxy: ProxySettings;
  authorities?: string[];
  clients?: { cert: string; key: string }[];
  patience?: number;
}

export function makeTransport(options: TransportOptions): Transport {
  const { authorities = [], clients = [], patience = defaultPatience, insecure, proxy } = options;
  const key = createHash("sha256")
    .update(JSON.stringify([insecure, authorities, clients, proxy]))
    .digest("hex");
  return { insecure, authorities, clients, proxy, patience, key };
}

/**
 * The certificates for a registry ("host:port"), from the first of `directories` that has any. Throws "invalid" in Docker's
 * words where a certificate lacks its key.
 */
export async function readCertificates(
  domain: string,
  directories: readonly string[],
): Promise<Pick<Transport, "authorities" | "clients">> {
  for (const parent of directories) {
    const directory = join(parent, domain);
    const names = await readdir(directory).catch(() => []); // most registries have none
    const found = await readDirectory(directory, names.sort());
    if (found.authorities.length > 0 || found.clients.length > 0) return found;
  }
  return { authorities: [], clients: [] };
}

async function readDirectory(directory: string, names: string[]) {
  const authorities: string[] = [];
  const clients: { cert: string; key: string }[] = [];
  for (const name of names) {
    if (name.endsWith(".crt")) authorities.push(await read(join(directory, name)));
    const key = name.replace(/\.cert$/, ".key");
    if (name.endsWith(".cert")) {
      if (!names.includes(key)) {
        throw certificateError(
          `missing key ${key} for client certificate ${name}. CA certificates must use the extension .crt`,
          directory,
        );
      }
      clients.push({ cert: await read(join(directory, name)), key: await read(join(directory, key)) });
    }
    const cert = name.replace(/\.key$/, ".cert");
    if (name.endsWith(".key") && !names.includes(cert)) {
      throw certificateError(`missing client certificate ${cert} for key ${name}`, directory);
    }
  }
  return { authorities, clients };
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw certificateError(`cannot read ${path}: ${(cause as Error).message}`, path);
  }
}

function certificateError(message: string, object: string): BerthError {
  return new BerthError("invalid", message, { operation: "read registry certificates", object });
}

/** By the transport's key and the kind of connection. Connections are shared by everything in this thread. */
const kept = new Map<string, http.Agent>();

/** The agent to send a request to `url` with. Throws "invalid" where a certificate file holds none. */
export async function agentFor(transport: Transport, url: URL): Promise<http.Agent> {
  const secure = url.protocol === "https:";
  const proxied = proxyFor(url, transport.proxy) !== undefined;
  const key = `${transport.key} ${secure} ${proxied}`;
  const known = kept.get(key);
  if (known !== undefined) return known;
  const trusted = secure && !transport.insecure ? await systemAuthorities() : [];
  // Somebody else may have made it meanwhile.
  const agent = kept.get(key) ?? makeAgent(transport, secure, proxied, trusted);
  kept.set(key, agent);
  return agent;
}

/** Closes the thread's kept connections. */
export function closeConnections(): void {
  for (const agent of kept.values()) agent.destroy();
  kept.clear();
}

function makeAgent(
  transport: Transport,
  secure: boolean,
  proxied: boolean,
  trusted: readonly string[],
): http.Agent {
  const { http: forHttp, https: forHttps } = transport.proxy;
  const options = {
    keepAlive: true,
    // Which hosts go round the proxy is decided by `proxyFor`, not by the agent.
    ...(proxied ? { proxyEnv: secure ? { HTTPS_PROXY: forHttps } : { HTTP_PROXY: forHttp } } : {}),
  };
  if (!secure) return new http.Agent(options);
  return new https.Agent({
    ...options,
    rejectUnauthorized: !transport.insecure,
    secureContext: contextOf(transport, trusted),
  });
}

/** Trusts `trusted` and the registry's own authorities, and nobody else. */
function contextOf({ authorities, clients }: Transport, trusted: readonly string[]): SecureContext {
  try {
    return createSecureContext({
      ca: [...trusted, ...authorities],
      ...(clients.length === 0
        ? {}
        : { cert: clients.map(({ cert }) => cert), key: clients.map(({ key }) => key) }),
    });
  } catch (cause) {
    throw certificateError(`invalid registry certificate: ${(cause as Error).message}`, "certs.d");
  }
}

let authoritiesOnce: Promise<string[]> | undefined;

/** The system's authorities (or, on a system without, those that came with Node), as PEM. */
function systemAuthorities(): Promise<string[]> {
  authoritiesOnce ??= readAuthorities();
  return authoritiesOnce;
}

async function readAuthorities(): Promise<string[]> {
  const system = isMainThread ? await systemCertificates() : getCACertificates("system");
  // Debian's directory names each several times, and parsing them is what takes time.
  return system.length > 0 ? [...new Set(system)] : getCACertificates("bundled");
}

/** Tens of milliseconds: in a thread of its own, so that the event loop goes on; here, where no thread can be had. */
function systemCertificates(): Promise<string[]> {
  const { promise, resolve } = Promise.withResolvers<string[]>();
  const source = `
    require("node:worker_threads").parentPort.postMessage(require("node:tls").getCACertificates("system"));
  `;
  const here = () => resolve(getCACertificates("system"));
  try {
    const worker = new Worker(source, { eval: true, name: "authorities" });
    worker.once("message", resolve);
    worker.once("error", here);
  } catch {
    here();
  }
  return promise;
}
