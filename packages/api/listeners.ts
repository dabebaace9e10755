/**
 * Where the API is reached: unix sockets, TCP with and without TLS, descriptors passed in by a service
 * manager.
 *
 * Owns the listening sockets and the socket files it made. Plain TCP is refused beyond loopback unless it is
 * asked for by name: whoever reaches the API is root on the host.
 */
import { chmodSync, chownSync, lstatSync, mkdirSync, readFileSync, rmSync, unlinkSync } from "node:fs";
import type { Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { dirname } from "node:path";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { AF_UNIX, bind, encodeUnixAddress, SOCK_STREAM, socket } from "#kernel/socket-syscalls.ts";
import { backlog } from "./admission.ts";
import { type HostAddress, isLoopback, parseHost } from "./host-address.ts";

export interface TlsOptions {
  /** PEM. */
  cert: string | Buffer;
  key: string | Buffer;
  ca?: string | Buffer;
  /** Only clients with a certificate of `ca` are let in. */
  verify: boolean;
}

export interface ListenOptions {
  tls?: TlsOptions;
  /** Name or number of the group that may use unix sockets; without such a group they stay root's. */
  group?: string;
  /** Listen on TCP without TLS on addresses others can reach. */
  allowInsecureTcp?: boolean;
}

export type CreateServer = (tls: TlsOptions | undefined) => Server;

export interface Listener {
  /** As a client would say it: "unix:///run/berth/berth.sock", "tcp://127.0.0.1:2375". */
  address: string;
  server: Server;
  /** A socket file of its own, to be removed at the end. */
  path?: string;
}

/** Descriptors passed in by a service manager begin here (sd_listen_fds(3)). */
const firstPassedFd = 3;

/** Listens on every host, or, where one fails, on none. Throws BerthError. */
export async function openListeners(
  hosts: readonly string[],
  options: ListenOptions,
  createServer: CreateServer,
  logger: Logger,
): Promise<Listener[]> {
  const listeners: Listener[] = [];
  try {
    for (const host of hosts) {
      const address = parseHost(host, options.tls !== undefined);
      listeners.push(...(await open(address, options, createServer, logger)));
    }
  } catch (error) {
    for (const listener of listeners) closeListener(listener);
    throw error;
  }
  return listeners;
}

/** Takes no more connections; `closed` is called when those there are have ended. */
export function closeListener({ server, path }: Listener, closed?: () => void): void {
  server.close(closed);
  if (path !== undefined) rmSync(path, { force: true });
}

async function open(
  address: HostAddress,
  options: ListenOptions,
  createServer: CreateServer,
  logger: Logger,
): Promise<Listener[]> {
  switch (address.kind) {
    case "unix":
      return [await openUnix(address.path, options.group, createServer(undefined), logger)];
    case "tcp":
      return [await openTcp(address.host, address.port, options, createServer, logger)];
    case "fd":
      return await openPassed(address.which, createServer);
  }
}

async function openUnix(
  path: string,
  group: string | undefined,
  server: Server,
  logger: Logger,
): Promise<Listener> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
  await removeStale(path);
  // Bound here, and not by Node, which removes the name whenever it stops listening for a while.
  using bound = bindUnix(path);
  await startListening(server, `unix://${path}`, () => server.listen({ fd: bound.release() }, backlog));
  const gid = groupId(group);
  if (gid !== undefined) chownSync(path, 0, gid);
  else if (group !== undefined && group !== "")
    logger.warn("no such group, the socket stays root's", { group, path });
  chmodSync(path, 0o660);
  return { address: `unix://${path}`, server, path };
}

function bindUnix(path: string): FileDescriptor {
  using bound = new FileDescriptor(socket(AF_UNIX, SOCK_STREAM, 0));
  // Without rights for others from the first moment; only then given to the group.
  const before = process.umask(0o117);
  try {
    bind(bound.number, encodeUnixAddress(path));
  } catch (error) {
    throw cannotListen(`unix://${path}`, error instanceof Error ? error.message : String(error), error);
  } finally {
    process.umask(before);
  }
  return new FileDescriptor(bound.release());
}

/** A socket file is left behind by a daemon that was killed: it goes if nobody answers on it. */
async function removeStale(path: string): Promise<void> {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSocket()) throw cannotListen(`unix://${path}`, "something that isn't a socket is there");
  if (await answers(path)) throw cannotListen(`unix://${path}`, "another process is listening there");
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.on("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.on("error", (error: NodeJS.ErrnoException) =>
      resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"),
    );
  });
}

async function openTcp(
  host: string,
  port: number,
  { tls, allowInsecureTcp }: ListenOptions,
  createServer: CreateServer,
  logger: Logger,
): Promise<Listener> {
  const shown = `tcp://${host.includes(":") ? `[${host}]` : host}:${port}`;
  if (tls === undefined) {
    if (!isLoopback(host) && allowInsecureTcp !== true) {
      throw new BerthError("forbidden", `refusing to listen on ${shown} without TLS`, {
        operation: "listen",
        object: shown,
        hint: "Whoever can connect is root on this host: use --tlsverify with certificates, or a loopback address, or a unix socket; --tls=false if that is what is wanted.",
      });
    }
    logger.warn("the API can be reached without TLS: whoever can connect is root on this host", {
      address: shown,
    });
  } else if (!tls.verify) {
    logger.warn(
      "the API can be reached without a client certificate: whoever can connect is root on this host",
      {
        address: shown,
      },
    );
  }
  const server = createServer(tls);
  await startListening(server, shown, () => server.listen({ host, port, backlog }));
  return { address: addressOf(server), server };
}

async function openPassed(which: string | undefined, createServer: CreateServer): Promise<Listener[]> {
  const count = process.env.LISTEN_PID === String(process.pid) ? Number(process.env.LISTEN_FDS ?? 0) : 0;
  const passed = Array.from(
    { length: Number.isInteger(count) ? count : 0 },
    (_, index) => firstPassedFd + index,
  );
  const names = (process.env.LISTEN_FDNAMES ?? "").split(":");
  const wanted = passed.filter(
    (fd) => which === undefined || which === String(fd) || which === names[fd - firstPassedFd],
  );
  if (wanted.length === 0)
    throw cannotListen(`fd://${which ?? ""}`, "no such descriptor was passed in by a service manager");
  return await Promise.all(
    wanted.map(async (fd) => {
      const server = createServer(undefined);
      await startListening(server, `fd://${fd}`, () => server.listen({ fd }, backlog));
      return { address: `fd://${fd}`, server };
    }),
  );
}

/** The bind itself happens inside `listen`, before this returns. */
function startListening(server: Server, address: string, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        cannotListen(address, error.code === "EADDRINUSE" ? "the address is in use" : error.message, error),
      ),
    );
    server.once("listening", resolve);
    listen();
  });
}

function addressOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  return `tcp://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}

function groupId(group: string | undefined): number | undefined {
  if (group === undefined || group === "") return undefined;
  if (/^[0-9]+$/.test(group)) return Number(group);
  const line = readFileSync("/etc/group", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith(`${group}:`));
  return line === undefined ? undefined : Number(line.split(":")[2]);
}

function cannotListen(address: string, reason: string, cause?: unknown): BerthError {
  return new BerthError("unavailable", `cannot listen on ${address}: ${reason}`, {
    operation: "listen",
    object: address,
    cause,
  });
}
