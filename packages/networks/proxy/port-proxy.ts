/**
 * The daemon's side of the port proxy: which sockets it serves, and that it runs while there are any.
 *
 * Owns a duplicate of every socket served, so that a proxy that has died is replaced without a port lost. What a former
 * daemon had it serve is found again (`adopt`), kept by whoever asks for the same (`serve`), and ended where nobody
 * does (`forgetUnclaimed`). The proxy itself knows nothing: docs/decisions/0010-one-port-proxy.md.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import type { FileDescriptor } from "#kernel/fd.ts";
import { encodeInternetAddress } from "#kernel/nonblocking-sockets.ts";
import { type Listed, ProxyConnection, socketKey } from "#networks/proxy/proxy-connection.ts";
import {
  addressKey,
  encodeOrder,
  ORDER,
  PROXY_SLOTS,
  type ProxyOrder,
  type ProxyTarget,
} from "#networks/proxy/proxy-orders.ts";

export interface PortProxyParts {
  /** The launcher's binary, and where the proxy listens or shall listen. */
  launcherPath: string;
  socketPath: string;
  logger: Logger;
  /** Seconds of silence after which a UDP client is forgotten; 90 where not told. */
  patience?: number;
}

interface Served {
  socket: FileDescriptor;
  target: ProxyTarget;
}

/** How long the proxy may take to let go of ports, ms; it takes microseconds for each. */
const ANSWER_PATIENCE = 5000;
/** One that ends again and again is started at this interval at last, ms. */
const LONGEST_PAUSE = 5000;

export class PortProxy {
  readonly #parts: PortProxyParts;
  readonly #served = new Map<number, Served>();
  /** Found with the proxy and not asked for yet, by protocol, address and port. */
  readonly #found = new Map<string, Listed>();
  /** Slots whose sockets the proxy may still have, and who waits for them. */
  readonly #leaving = new Map<number, (() => void)[]>();
  #connection: ProxyConnection | undefined;
  #connecting: Promise<void> | undefined;
  #nextSlot = 0;
  #failures = 0;
  #closed = false;

  constructor(parts: PortProxyParts) {
    this.#parts = parts;
  }

  /** Finds the proxy of a former daemon. Does nothing where there is none. */
  async adopt(): Promise<void> {
    if (!existsSync(this.#parts.socketPath)) return;
    try {
      await this.#connect();
    } catch (error) {
      // Nobody is behind that name: who needs a proxy starts one.
      this.#parts.logger.debug("no port proxy answers", { error: String(error) });
    }
  }

  /**
   * Has connections and datagrams of a socket taken to `target`, and answers by what number to end that. The socket is
   * made by `open` (and closed here in the end), unless the proxy has one for this place from before. Sends one message;
   * the first of all starts the proxy, which nobody waits for: the socket listens already.
   */
  serve(hostIp: string, port: number, target: ProxyTarget, open: () => FileDescriptor): number {
    const found = this.#claim(hostIp, port, target.protocol);
    if (found !== undefined && sameTarget(found.target, target)) {
      this.#served.set(found.slot, found);
      return found.slot;
    }
    if (found !== undefined) this.#order(found.slot);
    const served = { socket: found?.socket ?? open(), target };
    const slot = this.#takeSlot();
    this.#served.set(slot, served);
    if (this.#connection !== undefined) this.#add(this.#connection, slot, served);
    else this.#start();
    return slot;
  }

  #claim(hostIp: string, port: number, protocol: "tcp" | "udp"): Listed | undefined {
    if (this.#found.size === 0) return undefined;
    const key = addressKey(protocol, encodeInternetAddress(hostIp, port));
    const found = this.#found.get(key);
    this.#found.delete(key);
    return found;
  }

  /** Ends serving, connections under way too. The port is free when `settled`. */
  end(slot: number): void {
    const served = this.#served.get(slot);
    if (served === undefined) return;
    this.#served.delete(slot);
    served.socket.close();
    this.#order(slot);
  }

  /** Tells the proxy to let go of a slot. */
  #order(slot: number): void {
    if (this.#connection === undefined && this.#connecting === undefined) return;
    this.#leaving.set(slot, this.#leaving.get(slot) ?? []);
    this.#connection?.send(encodeOrder(ORDER.remove, slot));
  }

  /**
   * Resolves when the proxy has none of the sockets any more that it was told to let go of, or does not say so for long.
   */
  settled(): Promise<unknown> | undefined {
    if (this.#leaving.size === 0) return undefined;
    const { promise: enough, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#parts.logger.warn("the port proxy does not answer");
      resolve();
    }, ANSWER_PATIENCE);
    const all = [...this.#leaving.values()].map((waiting) => new Promise<void>((left) => waiting.push(left)));
    return Promise.race([Promise.all(all), enough]).finally(() => clearTimeout(timer));
  }

  /** Ends what a former daemon had served and nobody has asked for. */
  forgetUnclaimed(): void {
    for (const { slot, socket } of this.#found.values()) {
      socket.close();
      this.#order(slot);
    }
    this.#found.clear();
  }

  /** Lets go of the proxy, which goes on with what it has. */
  close(): void {
    this.#closed = true;
    for (const { socket } of [...this.#served.values(), ...this.#found.values()]) socket.close();
    this.#served.clear();
    this.#found.clear();
    this.#connection?.close();
  }

  #takeSlot(): number {
    for (let tried = 0; tried < PROXY_SLOTS; tried++) {
      const slot = this.#nextSlot;
      this.#nextSlot = (slot + 1) % PROXY_SLOTS;
      if (!this.#served.has(slot) && !this.#leaving.has(slot) && !this.#isFound(slot)) return slot;
    }
    throw new BerthError("internal", `the port proxy serves ${PROXY_SLOTS} ports already`, {
      operation: "publish port",
    });
  }

  #isFound(slot: number): boolean {
    return this.#found.size > 0 && [...this.#found.values()].some((listed) => listed.slot === slot);
  }

  #add(connection: ProxyConnection, slot: number, { socket, target }: Served): void {
    connection.send(encodeOrder(ORDER.add, slot, target), socket);
  }

  #start(): void {
    if (this.#connecting !== undefined || this.#closed) return;
    void this.#connect().catch((error: unknown) => {
      this.#parts.logger.error("the port proxy does not start", { error: String(error) });
      this.#startLater();
    });
  }

  #startLater(): void {
    if (this.#served.size === 0 || this.#closed) return;
    const pause = Math.min(2 ** this.#failures++ * 10, LONGEST_PAUSE);
    setTimeout(() => {
      if (this.#connection === undefined && this.#served.size > 0) this.#start();
    }, pause).unref();
  }

  async #connect(): Promise<void> {
    if (this.#connection !== undefined) return;
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = undefined;
    });
    await this.#connecting;
  }

  async #open(): Promise<void> {
    const { launcherPath, socketPath, patience } = this.#parts;
    const open = () =>
      ProxyConnection.open(
        socketPath,
        (order) => this.#heard(order),
        () => this.#ended(),
      );
    const { connection, listed } = await open().catch(async () => {
      await runProxy(launcherPath, socketPath, patience);
      return await open();
    });
    if (this.#closed) {
      connection.close();
      for (const { socket } of listed) socket.close();
      return;
    }
    this.#connection = connection;
    this.#compare(connection, listed);
  }

  /** Brings what the proxy has together with what it should have. */
  #compare(connection: ProxyConnection, listed: readonly Listed[]): void {
    const there = new Set<number>();
    const leaving = new Set(this.#leaving.keys());
    for (const one of listed) {
      const own = this.#served.get(one.slot);
      if (own !== undefined && sameTarget(own.target, one.target) && !leaving.has(one.slot)) {
        one.socket.close();
        there.add(one.slot);
      } else if (own !== undefined || leaving.has(one.slot)) {
        one.socket.close();
        this.#order(one.slot);
        leaving.delete(one.slot);
      } else {
        this.#found.set(socketKey(one), one);
      }
    }
    for (const slot of leaving) this.#left(slot);
    for (const [slot, served] of this.#served) if (!there.has(slot)) this.#add(connection, slot, served);
  }

  #heard({ order, slot, status }: ProxyOrder): void {
    this.#failures = 0;
    if (order === ORDER.remove) this.#left(slot);
    else if (order === ORDER.add && status !== 0) {
      this.#parts.logger.error("the port proxy refused a port", { errno: status });
    }
  }

  #left(slot: number): void {
    const waiting = this.#leaving.get(slot) ?? [];
    this.#leaving.delete(slot);
    for (const resolve of waiting) resolve();
  }

  /** The proxy has died, and with it all it had; or we hung up. */
  #ended(): void {
    this.#connection = undefined;
    for (const slot of [...this.#leaving.keys()]) this.#left(slot);
    for (const { socket } of this.#found.values()) socket.close();
    this.#found.clear();
    if (!this.#closed && this.#served.size > 0)
      this.#parts.logger.warn("the port proxy has ended; it is started again");
    this.#startLater();
  }
}

function sameTarget(one: ProxyTarget, other: ProxyTarget): boolean {
  return one.protocol === other.protocol && targetKey(one) === targetKey(other);
}

function targetKey({ protocol, address, port }: ProxyTarget): string {
  return addressKey(protocol, encodeInternetAddress(address, port));
}

/** Comes back when a proxy answers: this one or another. */
function runProxy(launcherPath: string, socketPath: string, patience: number | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const seconds = patience === undefined ? [] : [String(patience)];
  const child = spawn(launcherPath, ["proxy", socketPath, ...seconds], {
    cwd: "/",
    env: {},
    stdio: ["ignore", "ignore", "pipe"],
  });
  let complaint = "";
  child.on("error", reject);
  child.on("close", (code, signal) => {
    if (code === 0) resolve();
    else reject(new Error(complaint.trim() || `it ended with ${signal ?? code}`));
  });
  // Without a descriptor for it there is none, whatever the types say, and the error comes later.
  child.stderr?.on("data", (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  return promise;
}
