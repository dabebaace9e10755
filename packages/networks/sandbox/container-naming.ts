/**
 * What running containers are called, and who answers their questions: the name server is told of what they hold, and
 * serves those that are, or were, on a network of a user's.
 *
 * Owns the name server; what containers hold belongs to HeldSandboxes.
 */
import type { Logger } from "#errors/logger-types.ts";
import { DnsService, type KeepSockets } from "#networks/dns/dns-service.ts";
import { resolverProgram } from "#networks/dns/resolver-program.ts";
import { canRedirect } from "#networks/dns/resolver-sockets.ts";
import type { HeldSandbox } from "#networks/network-record.ts";
import type { Network } from "#networks/network-table.ts";
import type { HeldSandboxes } from "#networks/sandbox/held-sandboxes.ts";
import { toldNames } from "#networks/told-names.ts";
import type { ResolverProgram } from "#runtime/launch-types.ts";

export class ContainerNaming {
  readonly #dns: DnsService;
  readonly #sandboxes: HeldSandboxes;
  readonly #networkOf: (name: string) => Network | undefined;
  /** Has the kernel what leads questions to the name server? Known once one was asked for. */
  #redirects: boolean | undefined;

  constructor(
    sandboxes: HeldSandboxes,
    networkOf: (name: string) => Network | undefined,
    keepSockets: KeepSockets,
    logger: Logger,
  ) {
    this.#dns = new DnsService(keepSockets, logger);
    this.#sandboxes = sandboxes;
    this.#networkOf = networkOf;
  }

  /** What a new container's shim makes for the name server. */
  program(): ResolverProgram {
    this.#redirects ??= canRedirect();
    return resolverProgram(this.#redirects);
  }

  /** What the container holds has changed, or is known anew. */
  tell(held: HeldSandbox): void {
    const { containerId } = held;
    const names = toldNames(held, this.#networkOf);
    if (names === undefined) {
      this.#dns.forget(containerId);
      return;
    }
    if (!held.resolver.embedded) {
      held.resolver.embedded = true;
      this.#sandboxes.save(held);
    }
    this.#dns.setNames(names);
    const pid = this.#sandboxes.pidOf(containerId);
    if (pid !== undefined) this.#dns.serve(containerId, pid);
  }

  /** The container's first process runs. */
  started(containerId: string, pid: number): void {
    if (this.#dns.knows(containerId)) this.#dns.serve(containerId, pid);
  }

  /** Resolves when questions of the container find somebody. */
  ready(containerId: string): Promise<void> {
    return this.#dns.ready(containerId);
  }

  rename(held: HeldSandbox, name: string): void {
    const former = held.name;
    held.name = name;
    for (const endpoint of Object.values(held.endpoints)) {
      if (endpoint.DNSNames === null) continue;
      endpoint.DNSNames = [...new Set(endpoint.DNSNames.map((known) => (known === former ? name : known)))];
    }
    this.#sandboxes.save(held);
    this.tell(held);
  }

  forget(containerId: string): void {
    this.#dns.forget(containerId);
  }

  /** Questions wait for the next daemon. */
  close(): Promise<void> {
    return this.#dns.close();
  }
}
