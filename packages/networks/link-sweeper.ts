/**
 * Deletes links of containers that are gone. A link outlives its container when something still holds the namespace, and
 * then nobody else would ever delete it.
 */
import type { Logger } from "#errors/logger-types.ts";
import type { Network } from "#networks/network-table.ts";

/** Milliseconds after a release in which its link should have gone with the namespace. */
const sweepDelay = 10_000;

export class LinkSweeper {
  readonly #inUse: () => ReadonlySet<string>;
  readonly #background: (work: Promise<void>) => void;
  readonly #logger: Logger;
  readonly #unswept = new Set<Network>();
  #timer: NodeJS.Timeout | undefined;

  /** `inUse`: the links of the containers there are. `background`: is given work that nobody waits for. */
  constructor(inUse: () => ReadonlySet<string>, background: (work: Promise<void>) => void, logger: Logger) {
    this.#inUse = inUse;
    this.#background = background;
    this.#logger = logger;
  }

  /** A container has left this network. */
  later(network: Network): void {
    this.#unswept.add(network);
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#background(this.#sweep());
    }, sweepDelay).unref();
  }

  async now(networks: readonly Network[]): Promise<void> {
    for (const network of networks) this.#unswept.add(network);
    await this.#sweep();
  }

  /** The network is gone, with all its links. */
  forget(network: Network): void {
    this.#unswept.delete(network);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  async #sweep(): Promise<void> {
    for (const network of this.#unswept) {
      this.#unswept.delete(network);
      try {
        await network.driver.sweepLinks(this.#inUse);
      } catch (error) {
        this.#logger.warn("removing left-over links failed", { error: String(error) });
      }
    }
  }
}
