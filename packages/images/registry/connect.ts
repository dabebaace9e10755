/**
 * Finds the registry that serves a reference: tries each endpoint in turn, mirrors first.
 *
 * A mirror's failure is never the user's: the next endpoint is asked. What the last endpoint answers is what the user sees.
 */
import type { RegistryAuth } from "#api-types/image.ts";
import { BerthError } from "#errors/errors.ts";
import { familiarText, type Reference } from "../reference.ts";
import { Authorizer, type TokenCache } from "./authorizer.ts";
import type { RetryDelay } from "./back-off.ts";
import { type EndpointOptions, endpointsFor } from "./endpoint.ts";
import { ExchangeError } from "./http-exchange.ts";
import { type FetchedManifest, RegistrySession } from "./registry-session.ts";

export interface ConnectOptions extends EndpointOptions {
  maxDownloadAttempts: number;
  delay: RetryDelay;
  tokens: TokenCache;
}

/**
 * Fetches the manifest that `reference` (with tag or digest) names, from the first endpoint that has it.
 * Throws BerthError: not-found as Docker says it, "internal" where no registry answers.
 */
export async function fetchTopManifest(
  reference: Reference,
  auth: RegistryAuth | undefined,
  options: ConnectOptions,
  signal: AbortSignal | undefined,
): Promise<{ session: RegistrySession; manifest: FetchedManifest }> {
  let failure: unknown;
  for (const endpoint of await endpointsFor(reference.domain, options)) {
    const authorizer = new Authorizer(
      // The hub's credentials are none of a mirror's business.
      endpoint.mirror ? undefined : auth,
      options.tokens,
      `repository:${reference.path}:pull`,
    );
    const session = new RegistrySession({
      endpoint,
      reference,
      authorizer,
      attempts: endpoint.mirror ? 1 : options.maxDownloadAttempts,
      delay: options.delay,
    });
    try {
      await session.ping(signal);
      return {
        session,
        manifest: await session.manifest(reference.digest ?? reference.tag ?? "latest", signal),
      };
    } catch (error) {
      signal?.throwIfAborted();
      // A registry that answered has the last word, unless it was only a mirror; one that did not has none.
      if (!(error instanceof ExchangeError) && !endpoint.mirror) throw error;
      failure = error;
    }
  }
  if (!(failure instanceof ExchangeError)) throw failure;
  throw new BerthError("internal", failure.message, {
    operation: "pull image",
    object: familiarText(reference),
    hint: hintFor(failure, reference.domain),
    cause: failure,
  });
}

function hintFor(failure: ExchangeError, domain: string): string {
  if (failure.message.includes("HTTP response to HTTPS") || failure.message.includes("x509")) {
    return `if ${domain} is meant to be used without TLS, add it to "insecure-registries" in daemon.json`;
  }
  if (failure.code === "ECONNREFUSED") return `nothing listens at ${domain}; is the registry running?`;
  return "check the registry's name, this machine's network and its proxy settings";
}
