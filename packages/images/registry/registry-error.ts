/**
 * What a registry's refusal means, in Docker's words.
 *
 * Registries answer `{"errors":[{"code","message","detail"}]}`; Docker prints "<code in words>: <message>" and, for a
 * name that leads nowhere, a sentence in front that scripts match on.
 */
import { parseJson } from "#errors/bounded-json.ts";
import { BerthError } from "#errors/errors.ts";
import { familiarRepository, familiarText, type Reference, repositoryOf } from "../reference.ts";
import { parseChallenges } from "./challenge.ts";

export interface Refusal {
  /** "MANIFEST_UNKNOWN", "DENIED"; empty where the registry gave none. */
  code: string;
  /** "manifest unknown: manifest unknown". */
  text: string;
  status: number;
}

/** Reads a refusal out of an answer with status ≥ 400. `body` may be anything. */
export function readRefusal(status: number, wwwAuthenticate: string | undefined, body: string): Refusal {
  const bearer = parseChallenges(wwwAuthenticate).find(({ scheme }) => scheme === "bearer")?.parameters;
  if (status < 500 && bearer?.error === "insufficient_scope") {
    return refusal(
      "DENIED",
      bearer.error_description ?? "requested access to the resource is denied",
      status,
    );
  }
  const listed = firstListed(body);
  if (listed !== undefined) return refusal(listed.code, listed.message, status);
  if (status === 401) return refusal("UNAUTHORIZED", "authentication required", status);
  if (status === 429) return refusal("TOOMANYREQUESTS", "too many requests", status);
  return { code: "", text: `received unexpected HTTP status: ${status}`, status };
}

/** The error a pull of `reference` ends with. */
export function pullError(refused: Refusal, reference: Reference): BerthError {
  const name = familiarRepository(repositoryOf(reference));
  const detail = { operation: "pull image", object: familiarText(reference) };
  const manifestMissing =
    refused.code === "MANIFEST_UNKNOWN" || (refused.code === "" && refused.status === 404);
  if (manifestMissing) {
    return new BerthError(
      "not-found",
      `manifest for ${familiarText(reference)} not found: ${refused.text}`,
      detail,
    );
  }
  if (refused.code === "DENIED") {
    return new BerthError(
      "not-found",
      `pull access denied for ${name}, repository does not exist or may require 'docker login': ${refused.text}`,
      detail,
    );
  }
  if (refused.code === "NAME_UNKNOWN") {
    return new BerthError("not-found", `repository ${name} not found: ${refused.text}`, detail);
  }
  return new BerthError("internal", refused.text, detail);
}

/** The error a look at `reference` ends with: the registry's words alone. */
export function inspectError(refused: Refusal, reference: Reference): BerthError {
  const codes = { DENIED: "forbidden", UNAUTHORIZED: "unauthorized", MANIFEST_UNKNOWN: "not-found" } as const;
  const missing = refused.status === 404 || refused.code === "NAME_UNKNOWN";
  const code = missing ? "not-found" : (codes[refused.code as keyof typeof codes] ?? "internal");
  return new BerthError(code, refused.text, {
    operation: "inspect distribution",
    object: familiarText(reference),
  });
}

/** The error a push of `reference` ends with. */
export function pushError(refused: Refusal, reference: Reference): BerthError {
  const denied = refused.code === "DENIED" || refused.code === "UNAUTHORIZED";
  return new BerthError("internal", refused.text, {
    operation: "push image",
    object: familiarText(reference),
    ...(denied ? { hint: `log in first: docker login ${reference.domain}` } : {}),
  });
}

function refusal(code: string, message: string, status: number): Refusal {
  return { code, text: `${code.toLowerCase().replaceAll("_", " ")}: ${message}`, status };
}

function firstListed(body: string): { code: string; message: string } | undefined {
  let parsed: unknown;
  try {
    parsed = parseJson(body);
  } catch {
    return undefined; // a proxy's page, or nothing
  }
  const first = (parsed as { errors?: unknown[] } | null)?.errors?.[0] as Record<string, unknown> | undefined;
  if (typeof first?.code !== "string") return undefined;
  const message = typeof first.message === "string" && first.message !== "" ? first.message : "unknown error";
  return { code: first.code.toUpperCase(), message: message.slice(0, 1000) };
}
