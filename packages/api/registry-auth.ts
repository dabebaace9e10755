/**
 * The X-Registry-Auth header: credentials as JSON in base64url. They are for the registry only and never
 * logged.
 */

import type { RegistryAuth } from "#api-types/image.ts";
import { parseJson } from "#errors/bounded-json.ts";

const fields = [
  "username",
  "password",
  "auth",
  "email",
  "serveraddress",
  "identitytoken",
  "registrytoken",
] as const;

/**
 * Undefined for a header that is absent, empty or unreadable: as in Docker, a pull then goes on without
 * credentials.
 */
export function decodeRegistryAuth(header: string | string[] | undefined): RegistryAuth | undefined {
  if (typeof header !== "string" || header === "") return undefined;
  let decoded: unknown;
  try {
    // Takes both alphabets, with or without padding.
    decoded = parseJson(Buffer.from(header, "base64url").toString("utf8"));
  } catch {
    // Not ours to complain: old clients send all kinds of things here.
    return undefined;
  }
  if (typeof decoded !== "object" || decoded === null) return undefined;
  const auth: RegistryAuth = {};
  for (const field of fields) {
    const value = (decoded as Record<string, unknown>)[field];
    if (typeof value === "string" && value !== "") auth[field] = value;
  }
  return Object.keys(auth).length === 0 ? undefined : auth;
}
