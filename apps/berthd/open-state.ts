/** The state database at the daemon's start: opened, and what had to be repaired told in the log. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { containerMigrations } from "#engine/containers/container-record.ts";
import type { Logger } from "#errors/logger-types.ts";
import { imageMigrations } from "#images/image-service.ts";
import { networkMigrations } from "#networks/controller.ts";
import { Database } from "#state/database.ts";
import type { StateRecovery } from "#state/recovery.ts";
import { volumeMigrations } from "#volumes/volume-rows.ts";

export const migrations = [containerMigrations, imageMigrations, networkMigrations, volumeMigrations];

/** Made at the first start of every daemon on this data root: after it, a missing database is a lost one. */
export function engineIdFile(dataRoot: string): string {
  return join(dataRoot, "engine-id");
}

export function openState(dataRoot: string, logger: Logger): Database {
  const path = join(dataRoot, "berth.db");
  const database = Database.open(path, migrations, { used: existsSync(engineIdFile(dataRoot)) });
  if (database.recovery !== undefined) tell(database.recovery, path, logger);
  if (database.keepsDamaged) {
    logger.warn("a damaged database is kept: layers that the new one does not know stay on the disk", {
      directory: join(dataRoot, "damaged"),
      hint: "remove what is named berth.db there when it is no longer needed; the next start removes those layers then",
    });
  }
  return database;
}

function tell(recovery: StateRecovery, path: string, logger: Logger): void {
  const { damage, detail, keptAs, backupTime, tables } = recovery;
  logger.error("the state database is damaged and was made anew of what can be read", {
    file: path,
    damage,
    detail,
    kept: keptAs ?? "there was nothing to keep",
    backup: backupTime?.toISOString() ?? "none",
  });
  for (const { table, whole, rows, fromBackup, dropped } of tables) {
    if (whole) continue;
    logger.error("of a damaged table", {
      table,
      rows,
      "from the backup": fromBackup,
      "without what they refer to": dropped,
    });
  }
}
