/**
 * Running containers that join and leave networks: what is looked at before, and what follows, however it went. How it
 * is done is in changes.ts.
 */
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { checkEndpointSettings } from "#networks/endpoint-check.ts";
import type { HeldSandbox } from "#networks/network-record.ts";
import type { Network } from "#networks/network-table.ts";
import type { SandboxRequest } from "#networks/network-types.ts";
import { portMap, type WantedPort, wantedPorts } from "#networks/ports/port-spec.ts";
import { type Change, joinRunning, leaveRunning } from "#networks/sandbox/changes.ts";
import type { ContainerNaming } from "#networks/sandbox/container-naming.ts";
import type { HeldSandboxes } from "#networks/sandbox/held-sandboxes.ts";
import { addressesOf } from "#networks/sandbox/sandbox-files.ts";
import type { Database } from "#state/database.ts";

export interface ChangeParts {
  sandboxes: HeldSandboxes;
  naming: ContainerNaming;
  networkOf: (name: string) => Network | undefined;
  database: Database;
  /** Takes back all that one has of its networks; may be repeated. */
  giveBack: (held: HeldSandbox) => void;
  logger: Logger;
}

export class MembershipChanges {
  readonly #parts: ChangeParts;

  constructor(parts: ChangeParts) {
    this.#parts = parts;
  }

  /** Answers the addresses it has there. */
  async connect(request: SandboxRequest, network: Network): Promise<string[]> {
    const { sandboxes, naming } = this.#parts;
    const wishes = request.endpoints[network.record.name] ?? {};
    checkEndpointSettings(network, wishes);
    const { held, pid } = sandboxes.running(request);
    const change = this.#change(held, pid, network, request.exposedPorts, wantedPorts(request));
    try {
      await joinRunning({ ...change, request, wishes });
    } finally {
      this.#changed(held);
    }
    await naming.ready(held.containerId);
    return addressesOf(held.endpoints[network.record.name]);
  }

  /** Answers the addresses it had there. */
  async disconnect(request: SandboxRequest, network: Network): Promise<string[]> {
    const { held, pid } = this.#parts.sandboxes.running(request);
    const endpoint = held.endpoints[network.record.name];
    if (endpoint === undefined) {
      throw new BerthError(
        "internal",
        `container ${request.containerId} is not connected to network ${network.record.name}`,
        { operation: "disconnect network", object: network.record.name },
      );
    }
    try {
      await leaveRunning(this.#change(held, pid, network, request.exposedPorts, wantedPorts(request)));
    } finally {
      this.#changed(held);
    }
    return addressesOf(endpoint);
  }

  /** A daemon before this one was killed while the container joined or left a network: it has left it. */
  async finish(held: HeldSandbox): Promise<void> {
    const { sandboxes, networkOf, logger } = this.#parts;
    const pid = sandboxes.pidOf(held.containerId);
    const network = networkOf(held.changing ?? "");
    if (pid === undefined || network === undefined) return;
    try {
      await leaveRunning(this.#change(held, pid, network, Object.keys(held.ports), []));
    } catch (error) {
      logger.warn("a container cannot be taken off a network it was joining or leaving", {
        container: held.name,
        network: network.record.name,
        error: String(error),
      });
    }
    this.#changed(held);
  }

  /** One that has ended meanwhile may have taken something after it was given back. */
  #changed(held: HeldSandbox): void {
    const { sandboxes, naming, giveBack } = this.#parts;
    if (sandboxes.get(held.containerId) === held) naming.tell(held);
    else giveBack(held);
  }

  #change(
    held: HeldSandbox,
    pid: number,
    network: Network,
    exposedPorts: string[],
    wanted: readonly WantedPort[],
  ): Change {
    const { sandboxes, networkOf, database } = this.#parts;
    return {
      held,
      pid,
      network,
      wanted,
      database,
      networkOf,
      save: () => {
        held.ports = portMap(exposedPorts, held.published);
        // It may have ended meanwhile.
        if (sandboxes.get(held.containerId) === held) sandboxes.save(held);
      },
    };
  }
}
