/**
 * Which container has which port of the host.
 *
 * Owns the reservations (sockets) and the table of holders; two containers conflict here, a container and another
 * process at the socket. Random ports go round the range, so that one just given back is not given out at once. Many
 * ports are taken and given back in slices, between which the event loop goes on.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { FileDescriptor } from "#kernel/fd.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { isUnspecified } from "#networks/firewall/desired-rules.ts";
import type { Binding } from "#networks/ports/bindings.ts";
import {
  bindFailure,
  external,
  type PortHolder,
  PortTaken,
  type PublishedPort,
} from "#networks/ports/port-errors.ts";
import {
  mostSockets,
  readDescriptorLimit,
  readEphemeralRange,
  roomForSockets,
} from "#networks/ports/port-limits.ts";
import { findPortOwner } from "#networks/ports/port-owner.ts";
import { openServedPort, reservePort } from "#networks/ports/port-reservation.ts";
import type { Protocol } from "#networks/ports/port-spec.ts";
import type { PortProxy } from "#networks/proxy/port-proxy.ts";

/** The container's address the port proxy shall relay a port to; undefined for a port that is only held. */
export type TargetOf = (port: Pick<PublishedPort, "protocol" | "hostIp">) => string | undefined;

interface Held extends PublishedPort {
  holder: PortHolder;
  /** Closed to give the port back; undefined where nothing holds it but this table. */
  socket: Pick<FileDescriptor, "close"> | undefined;
}

/** Milliseconds that one slice may take. */
const slice = 2;
type Reserve = typeof reservePort;

export interface AllocatorParts {
  range?: { first: number; last: number };
  reserve?: Reserve;
  proxy?: PortProxy;
  /** How many descriptors this process may have. */
  descriptorLimit?: number;
  findOwner?: typeof findPortOwner;
}

export class PortAllocator {
  /** "tcp 8080" → who has it, one per host address. */
  readonly #held = new Map<string, Held[]>();
  readonly #byHolder = new Map<string, Held[]>();
  readonly #reserve: Reserve;
  readonly #proxy: PortProxy | undefined;
  readonly #range: { first: number; last: number };
  readonly #limit: number;
  readonly #findOwner: typeof findPortOwner;
  readonly #closing = new Set<Promise<void>>();
  #count = 0;
  #cursor: number;

  constructor(parts: AllocatorParts = {}) {
    this.#range = parts.range ?? readEphemeralRange();
    this.#cursor = this.#range.first;
    this.#reserve = parts.reserve ?? reservePort;
    this.#proxy = parts.proxy;
    this.#limit = parts.descriptorLimit ?? readDescriptorLimit();
    this.#findOwner = parts.findOwner ?? findPortOwner;
  }

  /**
   * Takes all ports wanted, or none. Throws "internal" with Docker's text when one is in use, and with its owner where
   * that is found.
   */
  async take(holder: PortHolder, wanted: readonly Binding[], targetOf: TargetOf): Promise<PublishedPort[]> {
    this.#checkRoom(holder, wanted);
    await this.#settled();
    const taken: PublishedPort[] = [];
    let began = performance.now();
    try {
      for (const binding of wanted) {
        const own = binding.hostIps.length > 0 ? this.#takeOne(holder, binding, targetOf) : [];
        const routed = binding.routedIps.map((hostIp) => published(binding, hostIp, 0));
        taken.push(...[...own, ...routed].sort((a, b) => family(a) - family(b)));
        if (performance.now() - began < slice) continue;
        await nextTurn();
        began = performance.now();
      }
      return taken;
    } catch (error) {
      this.release(holder.containerId);
      throw error instanceof PortTaken ? await error.explained(this.#findOwner) : error;
    }
  }

  /** Takes again what a running container has; answers those another process has meanwhile. */
  retake(holder: PortHolder, ports: readonly PublishedPort[], targetOf: TargetOf): PublishedPort[] {
    return ports.filter((port) => {
      if (port.hostPort === 0) return false;
      try {
        this.#hold(holder, port, this.#open(port, targetOf(port)));
        return false;
      } catch {
        // Its rules stay: the container keeps what it had, whoever listens there now gets nothing.
        this.#hold(holder, port, undefined);
        return true;
      }
    });
  }

  /** Gives back what a holder has. Nobody else is told that these ports are taken any more. */
  release(containerId: string): void {
    const list = this.#byHolder.get(containerId);
    if (list === undefined) return;
    this.#byHolder.delete(containerId);
    for (const held of list) this.#forget(held);
    this.#close(list);
  }

  releaseAll(): void {
    for (const list of this.#byHolder.values()) for (const held of list) held.socket?.close();
    this.#held.clear();
    this.#byHolder.clear();
    this.#count = 0;
  }

  #forget(held: Held): void {
    const key = keyOf(held.protocol, held.hostPort);
    const kept = (this.#held.get(key) ?? []).filter((other) => other !== held);
    if (kept.length === 0) this.#held.delete(key);
    else this.#held.set(key, kept);
    if (held.socket !== undefined) this.#count--;
  }

  /** What fits into a slice at once, the rest while others have their turn. */
  #close(list: readonly Held[]): void {
    const rest = closeSlice(list, 0);
    if (rest === list.length) return;
    const work = (async () => {
      for (let at = rest; at < list.length; at = closeSlice(list, at)) await nextTurn();
    })();
    this.#closing.add(work);
    void work.finally(() => this.#closing.delete(work));
  }

  /** A port given back may be in the hands of somebody who has not let go yet. */
  async #settled(): Promise<void> {
    if (this.#closing.size > 0) await Promise.all(this.#closing);
    const leaving = this.#proxy?.settled();
    if (leaving !== undefined) await leaving;
  }

  #checkRoom(holder: PortHolder, wanted: readonly Binding[]): void {
    const needed = wanted.reduce((sum, { hostIps }) => sum + hostIps.length, 0);
    const room = roomForSockets(this.#limit);
    if (this.#count + needed <= room) return;
    const byLimit = room < mostSockets;
    throw external(
      holder,
      `too many ports: ${wanted.length} take ${needed} sockets, and of ${room} there are ${room - this.#count} left`,
      {
        hint: byLimit
          ? `publish fewer, use --network host, or let the daemon have more than ${this.#limit} open files (LimitNOFILE, RLIMIT_NOFILE)`
          : "publish fewer, or use --network host",
      },
    );
  }

  #takeOne(holder: PortHolder, binding: Binding, targetOf: TargetOf): PublishedPort[] {
    const { hostPorts } = binding;
    if (hostPorts === undefined) return this.#takeAny(holder, binding, targetOf);
    let refusal: unknown;
    for (let port = hostPorts.first; port <= hostPorts.last; port++) {
      try {
        return this.#takeNumber(holder, binding, port, targetOf);
      } catch (error) {
        refusal = error;
      }
    }
    throw refusal;
  }

  #takeAny(holder: PortHolder, binding: Binding, targetOf: TargetOf): PublishedPort[] {
    const { first, last } = this.#range;
    for (let tried = first; tried <= last; tried++) {
      const port = this.#cursor;
      this.#cursor = port === last ? first : port + 1;
      if (binding.hostIps.some((hostIp) => this.#conflict(binding.protocol, hostIp, port))) continue;
      try {
        return this.#takeNumber(holder, binding, port, targetOf);
      } catch (error) {
        if (!(error instanceof PortTaken)) throw error;
      }
    }
    throw external(holder, "all ports are allocated", {
      hint: `every port from ${first} to ${last} is in use; publish a fixed one`,
    });
  }

  /** At every address, or at none. */
  #takeNumber(holder: PortHolder, binding: Binding, hostPort: number, targetOf: TargetOf): PublishedPort[] {
    const taken: Held[] = [];
    try {
      for (const hostIp of binding.hostIps) {
        taken.push(this.#takeAt(holder, published(binding, hostIp, hostPort), targetOf));
      }
      return taken.map(({ protocol, containerPort, hostIp }) => ({
        protocol,
        containerPort,
        hostIp,
        hostPort,
      }));
    } catch (error) {
      for (const held of taken) this.#giveBack(held);
      throw error;
    }
  }

  #takeAt(holder: PortHolder, port: PublishedPort, targetOf: TargetOf): Held {
    const { protocol, hostIp, hostPort } = port;
    const other = this.#conflict(protocol, hostIp, hostPort);
    if (other !== undefined) {
      throw external(holder, `Bind for ${hostIp}:${hostPort} failed: port is already allocated`, {
        hint: other.holder === holder ? "it is asked for twice" : `container ${other.holder.name} has it`,
      });
    }
    try {
      return this.#hold(holder, port, this.#open(port, targetOf(port)));
    } catch (cause) {
      if (isErrno(cause, "EADDRINUSE")) throw new PortTaken(holder, port, cause);
      const reason = isErrno(cause, "EADDRNOTAVAIL") ? "cannot assign requested address" : String(cause);
      throw bindFailure(holder, port, reason, { cause });
    }
  }

  #open({ protocol, hostIp, hostPort, containerPort }: PublishedPort, target: string | undefined) {
    if (target === undefined || this.#proxy === undefined || protocol === "sctp") {
      return this.#reserve(protocol, hostIp, hostPort);
    }
    const proxy = this.#proxy;
    const to = { protocol, address: target, port: containerPort };
    const slot = proxy.serve(hostIp, hostPort, to, () => openServedPort(protocol, hostIp, hostPort));
    return { close: () => proxy.end(slot) };
  }

  #hold(holder: PortHolder, port: PublishedPort, socket: Held["socket"]): Held {
    const held = { ...port, holder, socket };
    append(this.#held, keyOf(port.protocol, port.hostPort), held);
    append(this.#byHolder, holder.containerId, held);
    if (socket !== undefined) this.#count++;
    return held;
  }

  #giveBack(held: Held): void {
    const own = this.#byHolder.get(held.holder.containerId);
    own?.splice(own.indexOf(held), 1);
    this.#forget(held);
    held.socket?.close();
  }

  #conflict(protocol: Protocol, hostIp: string, port: number): Held | undefined {
    return this.#held.get(keyOf(protocol, port))?.find((held) => overlap(held.hostIp, hostIp));
  }
}

function family({ hostIp }: PublishedPort): number {
  return hostIp.includes(":") ? 6 : 4;
}

function published({ protocol, containerPort }: Binding, hostIp: string, hostPort: number): PublishedPort {
  return { protocol, containerPort, hostIp, hostPort };
}

/** The sockets of one family alone know one another. */
function overlap(one: string, other: string): boolean {
  if (one.includes(":") !== other.includes(":")) return false;
  return one === other || isUnspecified(one) || isUnspecified(other);
}

/** Closes from `at` on for as long as a slice lasts; answers where it stopped. */
function closeSlice(list: readonly Held[], at: number): number {
  const began = performance.now();
  let next = at;
  while (next < list.length && performance.now() - began < slice) list[next++]?.socket?.close();
  return next;
}

function append<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function keyOf(protocol: Protocol, port: number): string {
  return `${protocol} ${port}`;
}
