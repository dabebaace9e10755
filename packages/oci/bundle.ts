/** A bundle on disk: its config.json, read and checked as far as no program has to be compiled for that. */
import { readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { withUser } from "#oci/prepare-process.ts";
import { parseSpecJson } from "#runtime/spec-json.ts";
import type { Spec } from "#runtime/spec-types.ts";

export interface Bundle {
  path: string;
  spec: Spec;
  /** Absolute. */
  rootfs: string;
}

/** Throws "not-found" or "invalid", naming the file or field. */
export function readBundle(directory: string): Bundle {
  const path = resolve(directory);
  const spec = parse(readConfig(path), join(path, "config.json"));
  const root = spec.root?.path;
  if (typeof root !== "string" || root === "") throw invalid("root.path: a root file system is needed");
  const rootfs = resolve(path, root);
  const found = statSync(rootfs, { throwIfNoEntry: false });
  if (found === undefined)
    throw invalid(`root.path: invalid rootfs: stat ${rootfs}: no such file or directory`);
  if (!found.isDirectory()) throw invalid(`root.path: invalid rootfs: ${rootfs} is not a directory`);
  const { process: given } = spec;
  return { path, spec: given ? { ...spec, process: withUser(given) } : spec, rootfs };
}

function readConfig(directory: string): string {
  try {
    return readFileSync(join(directory, "config.json"), "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
    throw new BerthError("not-found", "JSON specification file config.json not found", {
      operation: "read bundle",
      object: directory,
      hint: "make one with: berth-oci spec",
      cause,
    });
  }
}

function parse(text: string, path: string): Spec {
  let spec: unknown;
  try {
    spec = parseSpecJson(text);
  } catch (cause) {
    throw invalid(`${path} is not JSON: ${cause instanceof Error ? cause.message : cause}`);
  }
  if (typeof spec !== "object" || spec === null || Array.isArray(spec))
    throw invalid(`${path} is not a JSON object`);
  const { ociVersion } = spec as Partial<Spec>;
  if (typeof ociVersion !== "string" || !/^\d+\.\d+\.\d+/.test(ociVersion)) {
    throw invalid(`ociVersion: ${JSON.stringify(ociVersion)} is not a version of the specification`);
  }
  if (!ociVersion.startsWith("1.")) throw invalid(`ociVersion: ${ociVersion} is not supported, only 1.x is`);
  return spec as Spec;
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "read bundle" });
}
