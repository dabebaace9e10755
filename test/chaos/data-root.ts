/**
 * What must be true of a data root whenever its daemon has just started: every listed image is complete, and nothing is on the
 * disk that no row knows, nor the other way round.
 */
import assert from "node:assert/strict";
import { existsSync, lstatSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { ImageInspect } from "#api-types/image.ts";
import { fingerprint } from "#test/chaos/known-images.ts";

/** Layer directories of a data root, without those on their way out. */
export function layerDirectories(dataRoot: string): string[] {
  return readdirSync(join(dataRoot, "overlay2"))
    .filter((name) => name !== "l" && !name.startsWith(".gone-"))
    .sort();
}

/** The layers of an image hold exactly what they should; `contentOf` tells by diff id. */
export function checkLayers(image: ImageInspect, contentOf: (diffId: string) => string | undefined): void {
  const { UpperDir = "", LowerDir = "" } = image.GraphDriver.Data ?? {};
  const directories = [UpperDir, ...LowerDir.split(":")].filter(Boolean).reverse();
  assert.equal(directories.length, image.RootFS.Layers.length, `${image.Id} has its layers`);
  for (const [index, diffId] of image.RootFS.Layers.entries()) {
    const expected = contentOf(diffId);
    assert.ok(expected !== undefined, `${diffId} is a layer that was made here`);
    assert.equal(fingerprint(directories[index] ?? ""), expected, `content of ${diffId} in ${image.Id}`);
  }
}

/** Rows and directories of layers belong together, each to an image or container that there is. */
export function checkNothingHalfMade(dataRoot: string, containers: readonly string[]): void {
  const database = new DatabaseSync(join(dataRoot, "berth.db"), { readOnly: true });
  try {
    const rows = database
      .prepare("SELECT cache_id, chain_id, parent, state FROM image_layer")
      .all() as unknown as { cache_id: string; chain_id: string; parent: string | null; state: string }[];
    for (const row of rows) assert.equal(row.state, "complete", `state of layer ${row.cache_id}`);
    const own = containers.flatMap((id) => [id, `${id}-init`]);
    assert.deepEqual(
      layerDirectories(dataRoot),
      [...rows.map((row) => row.cache_id), ...own].sort(),
      "the layer directories are those of the rows",
    );
    const tops = database.prepare("SELECT top_chain FROM image").all() as { top_chain: string }[];
    const needed = new Set<string>();
    for (const { top_chain } of tops) {
      for (let at: string | null = top_chain; at !== null; ) {
        needed.add(at);
        const row = rows.find(({ chain_id }) => chain_id === at);
        assert.ok(row !== undefined, `layer ${at} of an image has a row`);
        at = row.parent;
      }
    }
    for (const { chain_id } of rows) assert.ok(needed.has(chain_id), `layer ${chain_id} belongs to an image`);
  } finally {
    database.close();
  }
  const links = join(dataRoot, "overlay2/l");
  for (const link of readdirSync(links)) {
    assert.ok(existsSync(join(links, readlinkSync(join(links, link)))), `link ${link} leads to a layer`);
  }
  for (const directory of ["image/tmp", "image/blobs/sha256"]) {
    const path = join(dataRoot, directory);
    assert.deepEqual(existsSync(path) ? readdirSync(path) : [], [], `${directory} is empty`);
  }
}

/** Every file and link below the data root with its size; but for the database, which grows and shrinks as it likes. */
export function inventory(dataRoot: string): string[] {
  const found: string[] = [];
  const visit = (path: string, name: string) => {
    const status = lstatSync(path);
    if (status.isDirectory())
      for (const child of readdirSync(path)) visit(join(path, child), `${name}/${child}`);
    else if (!name.startsWith("/berth.db")) found.push(`${name} ${status.size}`);
  };
  visit(dataRoot, "");
  return found.sort();
}
