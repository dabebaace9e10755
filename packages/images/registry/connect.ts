/**
 * Finds the registry that serves a reference: tries each endpoint in turn, mirrors first.
 *
 * A mirror's failure is never the user's: the next endpoint is asked. What the last endpoint answers is what the user sees.
 * Nothing is pushed to a mirror.
 */
import type { RegistryAuth } from "#api-types/image.ts";
import { BerthError } from "#errors/errors.ts";
import { familiarText, type Reference } from "../reference.ts";
import { Authorizer, type TokenCache } from "./authorizer.ts";
import type { RetryDelay } from "./back-off.ts";
import { type Endpoint, type EndpointOptions, endpointsFor } from "./endpoint.ts";
import { ExchangeError } from "./http-exchange.ts";
import { PushSession } from "./push-session.ts";
import { RegistryCaller } from "./registry-caller.ts";
import { pullError } from "./registry-error.ts";
import { type FetchedManifest, RegistrySession } from "./registry-session.ts";

export interface ConnectOptions extends EndpointOptions {
  maxDownloadAttempts: number;
  delay: RetryDelay;
  tokens: TokenCache;
}

/** docker push tries each layer so often. */
const uploadAttempts = 5;

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
  return connectToPull(reference, auth, options, signal, async (session) => ({
    session,
    manifest: await session.manifest(reference.digest ?? reference.tag ?? "latest", signal),
  }));
}

/** Does `first` with the first endpoint that can. Throws as `fetchTopManifest`. */
export function connectToPull<Result>(
  reference: Reference,
  auth: RegistryAuth | undefined,
  options: ConnectOptions,
  signal: AbortSignal | undefined,
  first: (session: RegistrySession) => Promise<Result>,
  explain = pullError,
): Promise<Result> {
  return firstEndpoint(registryFor(reference, "pull image"), options, signal, async (endpoint) => {
    const caller = new RegistryCaller({
      endpoint,
      authorizer: new Authorizer(
        // The hub's credentials are none of a mirror's business.
        endpoint.mirror ? undefined : auth,
        options.tokens,
        `repository:${reference.path}:pull`,
      ),
      attempts: endpoint.mirror ? 1 : options.maxDownloadAttempts,
      delay: options.delay,
      operation: "pull image",
      object: familiarText(reference),
    });
    await caller.ping(signal);
    return first(new RegistrySession(caller, reference, explain));
  });
}

/** A session for pushing to the repository of `reference`. Throws BerthError where no registry answers. */
export function connectToPush(
  reference: Reference,
  auth: RegistryAuth | undefined,
  options: ConnectOptions,
  signal: AbortSignal | undefined,
): Promise<PushSession> {
  const unmirrored = { ...options, registryMirrors: [] };
  return firstEndpoint(registryFor(reference, "push image"), unmirrored, signal, async (endpoint) => {
    const caller = new RegistryCaller({
      endpoint,
      authorizer: new Authorizer(auth, options.tokens, `repository:${reference.path}:pull,push`),
      attempts: uploadAttempts,
      delay: options.delay,
      operation: "push image",
      object: familiarText(reference),
    });
    await caller.ping(signal);
    return new PushSession({ caller, reference, auth, tokens: options.tokens });
  });
}

function registryFor(reference: Reference, operation: string) {
  return { domain: reference.domain, operation, object: familiarText(reference) };
}

/**
 * Works with the first of the registry's endpoints that can be reached. Throws BerthError where none can: "invalid" for what is
 * no address.
 */
export async function firstEndpoint<Result>(
  registry: { domain: string; operation: string; object: string },
  options: ConnectOptions,
  signal: AbortSignal | undefined,
  work: (endpoint: Endpoint) => Promise<Result>,
): Promise<Result> {
  const { domain, operation, object } = registry;
  if (!URL.canParse(`https://${domain}`))
    throw new BerthError("invalid", `unable to parse server address: ${domain}`, { operation, object });
  let failure: unknown;
  for (const endpoint of await endpointsFor(domain, options)) {
    try {
      return await work(endpoint);
    } catch (error) {
      signal?.throwIfAborted();
      // A registry that answered has the last word, unless it was only a mirror; one that did not has none.
      if (!(error instanceof ExchangeError) && !endpoint.mirror) throw error;
      failure = error;
    }
  }
  if (!(failure instanceof ExchangeError)) throw failure;
  throw new BerthError("internal", failure.message, {
    operation,
    object,
    hint: connectHint(failure, domain),
    cause: failure,
  });
}

/** What to do about a registry that cannot be reached. */
function connectHint(failure: ExchangeError, domain: string): string {
  if (failure.message.includes("HTTP response to HTTPS")) {
    return `if ${domain} is meant to be used without TLS, add it to "insecure-registries" in daemon.json`;
  }
  if (failure.message.includes("x509")) {
    return `put the certificate of its authority into /etc/berth/certs.d/${domain}/ca.crt, or add ${domain} to "insecure-registries" in daemon.json`;
  }
  if (failure.code === "ECONNREFUSED") return `nothing listens at ${domain}; is the registry running?`;
  return "check the registry's name, this machine's network and its proxy settings";
}
