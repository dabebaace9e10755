/**
 * docker login: asks a registry whether credentials are good.
 *
 * Nothing is kept: the client stores the credentials, or the token that a token server gave in their place.
 */

import { STATUS_CODES } from "node:http";
import type { RegistryAuth } from "#api-types/image.ts";
import { BerthError, isBerthError } from "#errors/errors.ts";
import { defaultDomain } from "../reference.ts";
import { Authorizer, TokenCache } from "./authorizer.ts";
import { type ConnectOptions, firstEndpoint } from "./connect.ts";
import type { Endpoint } from "./endpoint.ts";
import { exchange } from "./http-exchange.ts";
import { usableAuth } from "./usable-auth.ts";

export interface LoginAnswer {
  Status: string;
  /** What to keep in place of the password; empty: keep the password. */
  IdentityToken: string;
}

/** Throws "unauthorized" where the registry refuses, "invalid" for what is no address, "internal" where it cannot be reached. */
export async function logIn(
  auth: RegistryAuth,
  options: ConnectOptions,
  signal: AbortSignal | undefined,
): Promise<LoginAnswer> {
  const domain = registryOf(auth.serveraddress ?? "");
  const registry = { domain, operation: "log in", object: domain };
  const unmirrored = { ...options, registryMirrors: [] };
  return firstEndpoint(registry, unmirrored, signal, (endpoint) => logInAt(endpoint, auth, signal));
}

/** "https://index.docker.io/v1/" is how clients name the hub; others come with or without a scheme. */
export function registryOf(serverAddress: string): string {
  const host = serverAddress.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return ["", "index.docker.io", "registry-1.docker.io", defaultDomain].includes(host) ? defaultDomain : host;
}

async function logInAt(
  { base, transport }: Endpoint,
  auth: RegistryAuth,
  signal: AbortSignal | undefined,
): Promise<LoginAnswer> {
  // A cache of its own: a token from before proves nothing about these credentials.
  const authorizer = new Authorizer(usableAuth(auth), new TokenCache(), "", { offline: true });
  const url = `${base}/v2/`;
  const ask = async () => {
    const response = await exchange({ method: "GET", url, headers: authorizer.headers(), transport, signal });
    response.body.destroy();
    return response;
  };
  let response = await ask();
  if (response.status === 401) {
    const repeat = await authorizer
      .answer(response.headers["www-authenticate"], base, transport, signal)
      .catch((error) => {
        throw isBerthError(error, "internal")
          ? new BerthError("unauthorized", error.message, { operation: "log in", object: base })
          : error;
      });
    if (!repeat && authorizer.lacksCredentials) {
      throw refused(`Get "${url}": no basic auth credentials`, base);
    }
    if (repeat) response = await ask();
  }
  const { status } = response;
  if (status === 200) return { Status: "Login Succeeded", IdentityToken: authorizer.identityToken ?? "" };
  const text = `login attempt to ${url} failed with status: ${status} ${STATUS_CODES[status] ?? ""}`.trim();
  if (status === 401 || status === 403) throw refused(text, base);
  throw new BerthError("internal", text, { operation: "log in", object: base });
}

function refused(message: string, object: string): BerthError {
  return new BerthError("unauthorized", message, { operation: "log in", object });
}
