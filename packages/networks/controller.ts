/**
 * The network controller: networks, sandboxes and endpoints, and the drivers behind them.
 */
import { type Logger, silentLogger } from "#errors/logger-types.ts";
import type { NetworkController, NetworkOptions } from "#networks/network-types.ts";
import type { Database } from "#state/database.ts";

export { networkMigrations } from "#networks/schema.ts";

/** Makes the controller; nothing on the host changes before `start()`. */
export function createNetworkController(
  _database: Database,
  _options: NetworkOptions,
  _logger: Logger = silentLogger,
): NetworkController {
  throw new Error("not yet");
}
