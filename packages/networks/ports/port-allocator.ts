/**
 * Which container has which port of the host.
 *
 * Owns the reservations (sockets) and the table of holders; two containers conflict here, a container and another
 * process at the socket. Random ports go round the range, so that one just given back is not given out at once.
 */
import { readFileSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import type { FileDescriptor } from "#kernel/fd.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { reservePort } from "#networks/ports/port-reservation.ts";
import type { Protocol, WantedPort } from "#networks/ports/port-spec.ts";

export interface PublishedPort {
  protocol: Protocol;
  containerPort: number;
  hostIp: string;
  hostPort: number;
}

/** Who publishes: for messages, and for what Docker's say. */
export interface PortHolder {
  containerId: string;
  name: string;
  endpointId: string;
  containerIp: string;
}

interface Held extends PublishedPort {
  holder: PortHolder;
  socket: FileDescriptor | undefined;
}

/** Used where the kernel's own range cannot be read. */
const fallbackRange = { first: 49_153, last: 65_535 };

type Reserve = typeof reservePort;

export class PortAllocator {
  /** "tcp 8080" → who has it, one per host address. */
  readonly #held = new Map<string, Held[]>();
  readonly #reserve: Reserve;
  readonly #range: { first: number; last: number };
  #cursor: number;

  constructor(range = readEphemeralRange(), reserve: Reserve = reservePort) {
    this.#range = range;
    this.#cursor = range.first;
    this.#reserve = reserve;
  }

  /** Takes all ports wanted, or none. Throws "internal" with Docker's text when one is in use. */
  take(holder: PortHolder, wanted: readonly WantedPort[]): PublishedPort[] {
    const taken: PublishedPort[] = [];
    try {
      for (const port of wanted) taken.push(this.#takeOne(holder, port));
      return taken;
    } catch (error) {
      this.release(holder.containerId);
      throw error;
    }
  }

  /** Takes again what a running container has; answers those another process has meanwhile. */
  retake(holder: PortHolder, ports: readonly PublishedPort[]): PublishedPort[] {
    return ports.filter((port) => {
      try {
        this.#hold(holder, port, this.#reserve(port.protocol, port.hostIp, port.hostPort));
        return false;
      } catch {
        // Its rules stay: the container keeps what it had, whoever listens there now gets nothing.
        this.#hold(holder, port, undefined);
        return true;
      }
    });
  }

  release(containerId: string): void {
    for (const [key, list] of this.#held) {
      const kept = list.filter((held) => held.holder.containerId !== containerId);
      if (kept.length === list.length) continue;
      for (const held of list) if (held.holder.containerId === containerId) held.socket?.close();
      if (kept.length === 0) this.#held.delete(key);
      else this.#held.set(key, kept);
    }
  }

  releaseAll(): void {
    for (const list of this.#held.values()) for (const held of list) held.socket?.close();
    this.#held.clear();
  }

  #takeOne(holder: PortHolder, wanted: WantedPort): PublishedPort {
    const { hostPorts } = wanted;
    if (hostPorts === undefined) return this.#takeAny(holder, wanted);
    let refusal: unknown;
    for (let port = hostPorts.first; port <= hostPorts.last; port++) {
      try {
        return this.#takeNumber(holder, wanted, port);
      } catch (error) {
        refusal = error;
      }
    }
    throw refusal;
  }

  #takeAny(holder: PortHolder, wanted: WantedPort): PublishedPort {
    const { first, last } = this.#range;
    for (let tried = first; tried <= last; tried++) {
      const port = this.#cursor;
      this.#cursor = port === last ? first : port + 1;
      if (this.#conflict(wanted.protocol, wanted.hostIp, port) !== undefined) continue;
      try {
        return this.#takeNumber(holder, wanted, port);
      } catch (error) {
        if (!(error instanceof BerthError && isErrno(error.cause, "EADDRINUSE"))) throw error;
      }
    }
    throw external(holder, "all ports are allocated", {
      hint: `every port from ${first} to ${last} is in use; publish a fixed one`,
    });
  }

  #takeNumber(holder: PortHolder, wanted: WantedPort, hostPort: number): PublishedPort {
    const { protocol, containerPort, hostIp } = wanted;
    const other = this.#conflict(protocol, hostIp, hostPort);
    if (other !== undefined) {
      throw external(holder, `Bind for ${hostIp}:${hostPort} failed: port is already allocated`, {
        hint: `container ${other.holder.name} has it`,
      });
    }
    const port = { protocol, containerPort, hostIp, hostPort };
    try {
      this.#hold(holder, port, this.#reserve(protocol, hostIp, hostPort));
    } catch (cause) {
      const reason = isErrno(cause, "EADDRINUSE")
        ? "address already in use"
        : isErrno(cause, "EADDRNOTAVAIL")
          ? "cannot assign requested address"
          : String(cause);
      const { containerIp } = holder;
      throw external(
        holder,
        `failed to bind host port for ${hostIp}:${hostPort}:${containerIp}:${containerPort}/${protocol}: ${reason}`,
        {
          cause,
          ...(isErrno(cause, "EADDRINUSE") && {
            hint: `another process has it: ss -lnp 'sport = :${hostPort}'`,
          }),
        },
      );
    }
    return port;
  }

  #hold(holder: PortHolder, port: PublishedPort, socket: FileDescriptor | undefined): void {
    const key = keyOf(port.protocol, port.hostPort);
    const held = { ...port, holder, socket };
    const list = this.#held.get(key);
    if (list === undefined) this.#held.set(key, [held]);
    else list.push(held);
  }

  #conflict(protocol: Protocol, hostIp: string, port: number): Held | undefined {
    return this.#held
      .get(keyOf(protocol, port))
      ?.find((held) => held.hostIp === hostIp || held.hostIp === "0.0.0.0" || hostIp === "0.0.0.0");
  }
}

function keyOf(protocol: Protocol, port: number): string {
  return `${protocol} ${port}`;
}

/** The kernel's range for connections' own ports, which is also where Docker takes random ports from. */
export function readEphemeralRange(path = "/proc/sys/net/ipv4/ip_local_port_range"): {
  first: number;
  last: number;
} {
  try {
    const [first, last] = readFileSync(path, "utf8").trim().split(/\s+/).map(Number);
    if (first !== undefined && last !== undefined && first >= 1 && first <= last) return { first, last };
  } catch {
    // No /proc: the fallback is as good.
  }
  return fallbackRange;
}

/** The failure Docker reports around everything that goes wrong with a container's ports. */
export function external(
  holder: Pick<PortHolder, "name" | "endpointId">,
  reason: string,
  detail: { hint?: string; cause?: unknown } = {},
): BerthError {
  return new BerthError(
    "internal",
    `driver failed programming external connectivity on endpoint ${holder.name} (${holder.endpointId}): ${reason}`,
    { operation: "publish port", object: holder.name, ...detail },
  );
}
