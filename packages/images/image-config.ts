/**
 * An image's configuration document: the JSON whose digest is the image's id.
 *
 * The bytes are kept as they came; this reads them into checked values. Unknown fields are carried along untouched, known
 * ones of a wrong kind make the image invalid: the engine must be able to rely on what is read here.
 */

import type { ImageContainerConfig } from "#api-types/image.ts";
import { parseJson } from "#errors/bounded-json.ts";
import { BerthError } from "#errors/errors.ts";
import { type Digest, isDigest } from "./digest.ts";

/** Configurations are a few kilobytes; this much fits every honest one and costs no memory worth naming. */
export const configLimit = 4 << 20;

export interface ConfigHistory {
  created?: string;
  created_by?: string;
  author?: string;
  comment?: string;
  empty_layer?: boolean;
}

/** OCI image-spec config.md, with Docker's additions. */
export interface ImageConfig {
  architecture: string;
  os: string;
  variant?: string;
  "os.version"?: string;
  created?: string;
  author?: string;
  comment?: string;
  docker_version?: string;
  /** Of the container it was committed from, by Docker's builder. */
  container?: string;
  container_config?: ImageContainerConfig;
  config: ImageContainerConfig;
  /** Does it have none? Then `config` is empty. */
  unconfigured?: true;
  rootfs: { type: "layers"; diff_ids: Digest[] };
  history: ConfigHistory[];
}

type Json = Record<string, unknown>;

/** Throws BerthError "invalid" that says what is wrong. */
export function parseImageConfig(bytes: Uint8Array, name: string): ImageConfig {
  let parsed: unknown;
  try {
    parsed = parseJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw invalid(name, `not JSON (${(cause as Error).message.slice(0, 200)})`);
  }
  const document = object(parsed, name, "the document");
  const rootfs = object(document.rootfs, name, "rootfs");
  const diffIds = rootfs.diff_ids ?? [];
  if (!Array.isArray(diffIds) || !diffIds.every(isDigest)) throw invalid(name, "rootfs.diff_ids");
  const history = document.history ?? [];
  if (!Array.isArray(history)) throw invalid(name, "history");
  for (const field of [
    "architecture",
    "os",
    "created",
    "author",
    "comment",
    "docker_version",
    "variant",
    "container",
  ]) {
    const value = document[field];
    if (value !== undefined && value !== null && typeof value !== "string") throw invalid(name, field);
  }
  return {
    ...document,
    architecture: (document.architecture as string | null | undefined) ?? "",
    os: (document.os as string | null | undefined) ?? "",
    config: containerConfig(document.config, name),
    ...(document.config == null ? { unconfigured: true } : {}),
    ...(document.container_config == null
      ? {}
      : { container_config: containerConfig(document.container_config, name) }),
    rootfs: { type: "layers", diff_ids: diffIds },
    history: history.map((item) => historyItem(item, name)),
  };
}

function containerConfig(value: unknown, name: string): ImageContainerConfig {
  if (value === undefined || value === null) return {};
  const config = object(value, name, "config");
  for (const field of ["User", "WorkingDir", "StopSignal", "Hostname", "Domainname"]) {
    const text = config[field];
    if (text !== undefined && text !== null && typeof text !== "string")
      throw invalid(name, `config.${field}`);
  }
  for (const field of ["Env", "Cmd", "Entrypoint", "OnBuild", "Shell"]) {
    const items = config[field];
    if (items === undefined || items === null) continue;
    if (!Array.isArray(items) || !items.every((item) => typeof item === "string")) {
      throw invalid(name, `config.${field}`);
    }
  }
  for (const field of ["Labels", "Volumes", "ExposedPorts", "Healthcheck"]) {
    if (config[field] !== undefined && config[field] !== null) object(config[field], name, `config.${field}`);
  }
  const labels = (config.Labels ?? {}) as Json;
  if (!Object.values(labels).every((label) => typeof label === "string"))
    throw invalid(name, "config.Labels");
  // A null is an absent field; only some of Docker's fields are shown as null.
  const shownAsNull = new Set(["Env", "Cmd", "Entrypoint", "OnBuild", "Labels", "Volumes"]);
  return Object.fromEntries(
    Object.entries(config).filter(([field, held]) => held !== null || shownAsNull.has(field)),
  );
}

function historyItem(value: unknown, name: string): ConfigHistory {
  const item = object(value, name, "history");
  for (const field of ["created", "created_by", "author", "comment"]) {
    const text = item[field];
    if (text !== undefined && text !== null && typeof text !== "string")
      throw invalid(name, `history.${field}`);
  }
  return item as ConfigHistory;
}

function object(value: unknown, name: string, what: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw invalid(name, `${what} is not an object`);
}

function invalid(name: string, why: string): BerthError {
  return new BerthError("invalid", `invalid image configuration of ${name}: ${why}`, {
    operation: "read image configuration",
    object: name,
  });
}
