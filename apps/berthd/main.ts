/** The daemon's entry: configuration, then composition, then signals. Nothing is decided here. */
import { loadConfig } from "#config/load-config.ts";
import { BERTH_VERSION } from "#engine/system/system-service.ts";
import { BerthError } from "#errors/errors.ts";
import { runDaemon } from "./daemon.ts";
import { tuneV8 } from "./tune-v8.ts";

async function boot(): Promise<void> {
  try {
    const loaded = loadConfig(process.argv.slice(2));
    if ("help" in loaded) {
      process.stdout.write(loaded.help);
    } else if ("version" in loaded) {
      process.stdout.write(`Berth version ${BERTH_VERSION}\n`);
    } else {
      await runDaemon(loaded.config, loaded.warnings);
    }
  } catch (error) {
    const text =
      error instanceof BerthError ? error.message : String(error instanceof Error ? error.stack : error);
    const hint = error instanceof BerthError && error.hint !== undefined ? `\n${error.hint}` : "";
    process.stderr.write(`berthd: ${text}${hint}\n`);
    process.exitCode = 1;
  }
}

// A line that cannot be written (a full disk, a reader that has ended) is lost, and nothing else with it.
process.stderr.on("error", () => {});
tuneV8();
void boot();
