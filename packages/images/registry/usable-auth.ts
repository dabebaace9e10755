/**
 * Credentials as clients send them: an empty object where they have none.
 */
import type { RegistryAuth } from "#api-types/image.ts";

/** Undefined where there is nothing in it. */
export function usableAuth(auth: RegistryAuth | undefined): RegistryAuth | undefined {
  return auth !== undefined && Object.values(auth).some(Boolean) ? auth : undefined;
}
