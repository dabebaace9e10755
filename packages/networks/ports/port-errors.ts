/** What goes wrong with published ports, in Docker's words, and whom it is told about. */
import { BerthError } from "#errors/errors.ts";
import type { findPortOwner } from "#networks/ports/port-owner.ts";
import type { Protocol } from "#networks/ports/port-spec.ts";

/** `hostPort` is 0 where a routed network publishes the container's own address. */
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

/** Another process has the port. Who that is takes time to find out, and is only asked for a container's last word. */
export class PortTaken extends Error {
  readonly #holder: PortHolder;
  readonly #port: PublishedPort;

  constructor(holder: PortHolder, port: PublishedPort, cause: unknown) {
    super("address already in use", { cause });
    this.#holder = holder;
    this.#port = port;
  }

  async explained(findOwner: typeof findPortOwner): Promise<BerthError> {
    const { protocol, hostPort } = this.#port;
    const owner =
      protocol === "sctp" ? undefined : await findOwner(protocol, hostPort).catch(() => undefined);
    return bindFailure(this.#holder, this.#port, this.message, {
      cause: this.cause,
      hint:
        owner === undefined ? `another process has it: ss -lnp 'sport = :${hostPort}'` : `${owner} has it`,
    });
  }
}

export function bindFailure(
  holder: PortHolder,
  { protocol, hostIp, hostPort, containerPort }: PublishedPort,
  reason: string,
  detail: { hint?: string; cause?: unknown },
): BerthError {
  const host = hostIp.includes(":") ? `[${hostIp}]` : hostIp;
  const to = `${holder.containerIp}:${containerPort}/${protocol}`;
  return external(holder, `failed to bind host port for ${host}:${hostPort}:${to}: ${reason}`, detail);
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
