/**
 * What plugins have made for endpoints, as rows: written before a plugin is asked for it and deleted when the plugin has
 * let go of it, so that what a crash or a dead plugin leaves behind is asked back later.
 */
import type { Database } from "#state/database.ts";

/** "endpoint", "external" (published ports), or "address", whose value is "<pool> <address>". */
export interface Holding {
  endpointId: string;
  kind: "endpoint" | "external" | "address";
  value: string;
}

export class PluginHoldings {
  readonly #database: Database;
  readonly #networkId: string;

  constructor(database: Database, networkId: string) {
    this.#database = database;
    this.#networkId = networkId;
  }

  note({ endpointId, kind, value }: Holding): void {
    this.#database.run(
      "INSERT OR IGNORE INTO network_plugin_holding (network_id, endpoint_id, kind, value) VALUES (?, ?, ?, ?)",
      this.#networkId,
      endpointId,
      kind,
      value,
    );
  }

  forget({ endpointId, kind, value }: Holding): void {
    this.#database.run(
      "DELETE FROM network_plugin_holding WHERE network_id = ? AND endpoint_id = ? AND kind = ? AND value = ?",
      this.#networkId,
      endpointId,
      kind,
      value,
    );
  }

  /** Of one endpoint, or of all. */
  all(endpointId?: string): Holding[] {
    const rows = this.#database.all<{ endpoint_id: string; kind: Holding["kind"]; value: string }>(
      "SELECT endpoint_id, kind, value FROM network_plugin_holding WHERE network_id = ?",
      this.#networkId,
    );
    return rows
      .map(({ endpoint_id, kind, value }) => ({ endpointId: endpoint_id, kind, value }))
      .filter((holding) => endpointId === undefined || holding.endpointId === endpointId);
  }
}
