/** The daemon's configuration file: dockerd's daemon.json. */
import { DAEMON_OPTIONS, keyOf } from "#config/daemon-options.ts";
import type { RawConfig } from "#config/parse-flags.ts";
import { BerthError } from "#errors/errors.ts";

/** Values by key. Throws "invalid" with the file and the key. */
export function parseDaemonJson(text: string, path: string): RawConfig {
  const problem = (why: string, hint?: string) =>
    new BerthError("invalid", `unable to configure the daemon with file ${path}: ${why}`, {
      operation: "read configuration",
      object: path,
      ...(hint === undefined ? {} : { hint }),
    });
  if (text.trim() === "") return {};
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch (cause) {
    throw problem(cause instanceof Error ? cause.message : String(cause), "the file must be one JSON object");
  }
  if (typeof values !== "object" || values === null || Array.isArray(values)) {
    throw problem("it is not a JSON object");
  }
  const given = withoutFormerKeys(values as RawConfig);
  const byKey = new Map(DAEMON_OPTIONS.map((option) => [keyOf(option), option]));
  const unknown = Object.keys(given).filter((key) => !byKey.has(key));
  if (unknown.length > 0) {
    throw problem(`the following directives don't match any configuration option: ${unknown.join(", ")}`);
  }
  for (const [key, value] of Object.entries(given)) {
    const kind = byKey.get(key)?.kind ?? "object";
    if (!fits(kind, value)) throw problem(`${key} must be ${DESCRIPTION[kind]}`);
  }
  return given;
}

/** A key as it is written now: there could be one address only once. */
function withoutFormerKeys(given: RawConfig): RawConfig {
  const { "host-gateway-ip": address, ...others } = given;
  return typeof address === "string" ? { "host-gateway-ips": [address], ...others } : given;
}

const DESCRIPTION = {
  boolean: "true or false",
  string: "a string",
  number: "a number",
  list: "a list of strings",
  map: "an object with string values",
  object: "an object or a list",
} as const;

function fits(kind: keyof typeof DESCRIPTION, value: unknown): boolean {
  switch (kind) {
    case "boolean":
    case "string":
    case "number":
      return typeof value === kind;
    case "list":
      return Array.isArray(value) && value.every((entry) => typeof entry === "string");
    case "map":
      return (
        isObject(value) && Object.values(value).every((entry) => ["string", "boolean"].includes(typeof entry))
      );
    case "object":
      return isObject(value) || Array.isArray(value);
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
