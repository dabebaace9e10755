/** Authorization plugins as the API asks them: found by name, activated, one call for each question. */
import type { Logger } from "#errors/logger-types.ts";
import { callPlugin } from "#plugins/plugin-client.ts";
import type { Plugins } from "#plugins/plugins.ts";

/** How long a plugin may take for one decision, ms. */
const DECISION = 60_000;

/** Throws Error where the plugin is not there, cannot be reached, or says that it failed. */
export function askAuthorizationPlugins(plugins: Plugins) {
  return async (name: string, method: string, question: object): Promise<Record<string, unknown>> => {
    const plugin = await plugins.get(name, "authz");
    if (plugin === undefined) throw new Error(`plugin ${JSON.stringify(name)} not found`);
    return await callPlugin(plugin, method, question, { timeout: DECISION, patience: plugins.patience });
  };
}

/** Throws Error with the first that cannot be asked now. */
export async function checkAuthorizationPlugins(plugins: Plugins, names: readonly string[]): Promise<void> {
  for (const name of names) {
    try {
      if ((await plugins.get(name, "authz", 0)) === undefined) throw new Error("not found");
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`authorization plugin ${JSON.stringify(name)}: ${reason}`, { cause });
    }
  }
}

/** At the start nobody waits for them: they may be containers that have to be started first. */
export function tellOfMissing(plugins: Plugins, names: readonly string[], logger: Logger): void {
  checkAuthorizationPlugins(plugins, names).catch((error: Error) =>
    logger.error("every request is refused until the plugin is there", { reason: error.message }),
  );
}
