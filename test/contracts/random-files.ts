/**
 * Random operations on two trees that should be alike: each is done on both, and has to have the same outcome, error
 * included. The trees are compared whole now and then, and at the end.
 *
 * Few names are used, so that operations meet: a file is renamed over another, a directory is where a file was. What they
 * are follows from the seed alone.
 */
import assert from "node:assert/strict";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { getXattr, listXattr } from "#kernel/xattr-syscalls.ts";
import { RandomChoice, shortened } from "#test/contracts/random-choice.ts";
import { closeAll, openFileOperations } from "#test/contracts/random-open-files.ts";
import {
  attributeNames,
  looks,
  nameOperations,
  type Operation,
  type Tree,
} from "#test/contracts/random-operations.ts";

export interface RandomFiles {
  seed: number;
  operations: number;
  /** Directories that hold the same to begin with. */
  trees: readonly [tested: string, plain: string];
  /** overlayfs lets nobody move a directory of a layer below: where that is refused, the plain one is left alone, too. */
  refusesToMove: boolean;
}

/** Operations between two looks at everything. */
const LOOK = 5_000;

/** Throws where the trees come to differ, with the last operations. */
export function compareRandomFiles({ seed, operations, trees, refusesToMove }: RandomFiles): void {
  const random = new RandomChoice(seed);
  const history: string[] = [];
  const [tested, plain] = trees.map((path): Tree => ({ path, open: [] })) as [Tree, Tree];
  for (let count = 0; count < operations; count++) {
    const path = random.path();
    const operation = choose(random, path);
    const outcome = outcomeOf(operation, tested);
    history.push(`${shortened(operation.text)}: ${JSON.stringify(outcome)?.slice(0, 100) ?? "done"}`);
    if (history.length > 60) history.shift();
    if (refusesToMove && outcome === "error EXDEV") continue;
    same(outcomeOf(operation, plain), outcome);
    if (operation.makes !== undefined && outcome === undefined) random.remember(operation.makes);
    if (outcome === "error ENOENT") random.forget(path);
    if (count % LOOK === LOOK - 1) same(describe(plain.path), describe(tested.path));
  }
  for (const tree of [tested, plain]) closeAll(tree);
  same(describe(plain.path), describe(tested.path));

  function same(expected: unknown, found: unknown): void {
    assert.deepEqual(found, expected, `seed ${seed}, after:\n${history.join("\n")}`);
  }
}

function outcomeOf({ perform }: Operation, tree: Tree): unknown {
  try {
    return perform(tree);
  } catch (error) {
    if (error instanceof Error && "code" in error) return `error ${error.code}`;
    throw error;
  }
}

function choose(random: RandomChoice, path: string): Operation {
  const kinds = random.below(3) === 0 ? openFileOperations(random, path) : nameOperations(random, path);
  let at = random.below(kinds.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, kind] of kinds) {
    if (at < weight) return kind();
    at -= weight;
  }
  throw new Error("unreachable");
}

/** Everything about a tree, a line for each entry. */
function describe(tree: string, directory = ""): string[] {
  const lines: string[] = [];
  for (const name of readdirSync(join(tree, directory)).sort()) {
    const path = join(directory, name);
    const whole = join(tree, path);
    const status = lstatSync(whole);
    const kept = listXattr(whole)
      .filter((key) => attributeNames.includes(key))
      .sort()
      .map((key) => `${key}=${getXattr(whole, key)?.toString("hex")}`);
    const content = status.isSymbolicLink() ? readlinkSync(whole) : "";
    lines.push(`${path} ${looks(status)} ${kept.join(" ")} ${content}`);
    if (status.isDirectory()) lines.push(...describe(tree, path));
    if (status.isFile()) lines.push(readFileSync(whole, "base64"));
  }
  return lines;
}

const [tested, plain, seed, operations, refusesToMove] = process.argv.slice(2);
if (import.meta.main && tested !== undefined && plain !== undefined) {
  compareRandomFiles({
    trees: [tested, plain],
    seed: Number(seed),
    operations: Number(operations),
    refusesToMove: refusesToMove === "true",
  });
}
