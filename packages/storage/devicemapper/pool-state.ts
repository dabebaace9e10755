/**
 * What a thin pool says of itself, as the kernel writes it ("0 28/4161600 163/163840 - rw …"), and whether another layer
 * may be made in it. Pure.
 */
import { BerthError } from "#errors/errors.ts";

export type PoolMode = "rw" | "ro" | "out_of_data_space" | "failed";

export interface PoolState {
  transaction: number;
  /** Blocks of 4 KiB. */
  metadata: { used: number; total: number };
  /** Blocks of the pool's own size. */
  data: { used: number; total: number };
  mode: PoolMode;
  /** Its metadata was damaged: it has to be checked before it is written to again. */
  needsCheck: boolean;
}

const pattern = /^(\d+) (\d+)\/(\d+) (\d+)\/(\d+) \S+ (rw|ro|out_of_data_space)\b(.*)$/;

/** Undefined for what is none. */
export function parsePoolState(text: string): PoolState | undefined {
  const match = pattern.exec(text);
  if (match !== null) {
    const [, transaction, metadataUsed, metadataTotal, dataUsed, dataTotal] = match.map(Number);
    return {
      transaction: transaction ?? 0,
      metadata: { used: metadataUsed ?? 0, total: metadataTotal ?? 0 },
      data: { used: dataUsed ?? 0, total: dataTotal ?? 0 },
      mode: match[6] as PoolMode,
      needsCheck: /\bneeds_check\b/.test(match[7] ?? ""),
    };
  }
  if (!/^(Fail|Error)\b/.test(text)) return undefined;
  const none = { used: 0, total: 0 };
  return { transaction: 0, metadata: none, data: none, mode: "failed", needsCheck: true };
}

/** Throws "no-space" with Docker's text where less than `minFree` percent is left, and says so where a pool is broken. */
export function checkPool(name: string, state: PoolState, minFree: number): void {
  checkMode(name, state);
  checkFree(name, "data", "", state.data, minFree, 0);
  checkFree(name, "metadata", " metadata", state.metadata, minFree, 1);
}

function checkMode(name: string, { mode, needsCheck }: PoolState): void {
  const repair = `Stop the daemon, then look at its metadata with thin_check, and repair it with thin_repair or lvconvert --repair.`;
  const reasons: Record<PoolMode, [what: string, hint: string] | undefined> = {
    rw: undefined,
    ro: ["is read-only", repair],
    failed: ["has failed: its metadata cannot be read", repair],
    out_of_data_space: [
      "has no free data blocks",
      "Remove containers and images, or extend the pool; what is written to it fails until then.",
    ],
  };
  const reason = reasons[mode] ?? (needsCheck ? ["needs a check of its metadata", repair] : undefined);
  if (reason === undefined) return;
  const [what, hint] = reason;
  throw new BerthError("no-space", `devmapper: Thin Pool ${name} ${what}`, {
    operation: "make layer",
    object: name,
    hint,
  });
}

function checkFree(
  name: string,
  kind: string,
  shown: string,
  { used, total }: PoolState["data"],
  minFree: number,
  least: number,
): void {
  if (minFree === 0) return;
  const required = Math.max(Math.floor((total * minFree) / 100), least);
  const free = total - used;
  if (free >= required) return;
  const message =
    `devmapper: Thin Pool has ${free} free ${kind} blocks which is less than minimum required ${required} free ${kind} blocks. ` +
    `Create more free${shown} space in thin pool or use dm.min_free_space option to change behavior`;
  throw new BerthError("no-space", message, { operation: "make layer", object: name });
}
