/**
 * What of this data root may be in the kernel's firewall: written before rules are made, deleted after they are gone, so
 * that a later daemon finds what a former one has left, whatever back end either of them uses.
 */
import type { Database } from "#state/database.ts";

export type FirewallBackendName = "iptables" | "nftables";

/** A bridge's chains in iptables, or a table of nftables. */
export interface FirewallTrace {
  backend: FirewallBackendName;
  name: string;
}

export class FirewallRecord {
  readonly #database: Database;
  readonly #known: Set<string>;

  constructor(database: Database) {
    this.#database = database;
    this.#known = new Set(this.all().map(keyOf));
  }

  all(): FirewallTrace[] {
    const rows = this.#database.all<FirewallTrace>(
      "SELECT backend, name FROM network_firewall ORDER BY backend, name",
    );
    return rows.map(({ backend, name }) => ({ backend, name }));
  }

  note(traces: readonly FirewallTrace[]): void {
    const fresh = traces.filter((trace) => !this.#known.has(keyOf(trace)));
    if (fresh.length === 0) return;
    this.#database.transaction(() => {
      for (const trace of fresh) {
        this.#database.run(
          "INSERT OR IGNORE INTO network_firewall (backend, name) VALUES (?, ?)",
          trace.backend,
          trace.name,
        );
        this.#known.add(keyOf(trace));
      }
    });
  }

  forget(trace: FirewallTrace): void {
    if (!this.#known.delete(keyOf(trace))) return;
    this.#database.run(
      "DELETE FROM network_firewall WHERE backend = ? AND name = ?",
      trace.backend,
      trace.name,
    );
  }
}

function keyOf({ backend, name }: FirewallTrace): string {
  return `${backend} ${name}`;
}
