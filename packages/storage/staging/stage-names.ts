/** What drivers that have stages call them, and how a stage becomes a layer. */
import { randomUUID } from "node:crypto";
import { BerthError } from "#errors/errors.ts";
import { RENAME_EXCHANGE, renameat2 } from "#kernel/file-syscalls.ts";
import { AT_FDCWD } from "#kernel/syscalls.ts";
import { pathExists } from "#storage/layer-files.ts";
import { copyLooks } from "#storage/layer-looks.ts";

/** Begins the names of stages; to reconciliation they are like all that begins with a dot. */
const stagePrefix = ".stage-";

export function newStage(): string {
  return `${stagePrefix}${randomUUID()}`;
}

/** Answers a stage's key; throws "internal" for what is none. */
export function checkStage(key: string): string {
  if (key.startsWith(stagePrefix) && !key.includes("/")) return key;
  throw new BerthError("internal", `${JSON.stringify(key)} is no stage`, {
    operation: "make layer",
    object: key,
  });
}

/** A layer's or a stage's own directory, and where the layout of its archive is. */
export interface StagedPaths {
  directory: string;
  layout: string;
}

/** What is in a stage becomes a layer's; what was there goes with the stage. `looks`: the directory its root shall look like. */
export function adoptStage(stage: StagedPaths, layer: StagedPaths, looks: string | undefined): void {
  if (looks !== undefined) copyLooks(looks, stage.directory);
  renameat2(AT_FDCWD, stage.directory, AT_FDCWD, layer.directory, RENAME_EXCHANGE);
  const flags = pathExists(layer.layout) ? RENAME_EXCHANGE : 0;
  renameat2(AT_FDCWD, stage.layout, AT_FDCWD, layer.layout, flags);
}
