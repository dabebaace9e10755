/**
 * A conversation with one registry about one repository: manifests, small blobs, and where a large blob is fetched.
 *
 * Speaks the distribution specification's pull half. Everything it returns has been compared with the digest it was asked
 * for. Layer blobs it never reads itself: it hands out address and headers, and the transfer worker does the reading.
 */
import { BerthError } from "#errors/errors.ts";
import { type Digest, digestOf, isDigest } from "../digest.ts";
import { canonicalText, familiarText, type Reference, repositoryOf } from "../reference.ts";
import type { Authorizer } from "./authorizer.ts";
import { delayFor, isPermanentNetworkError, isTransientStatus, pause, type RetryDelay } from "./back-off.ts";
import type { Endpoint } from "./endpoint.ts";
import { ExchangeError, type ExchangeResponse, exchange, readBody } from "./http-exchange.ts";
import { manifestLimit, manifestTypes } from "./manifest.ts";
import { pullError, readRefusal } from "./registry-error.ts";

/** What the transfer worker needs for one attempt at a blob. */
export interface BlobAddress {
  url: string;
  headers: Record<string, string>;
  insecure: boolean;
}

export interface FetchedManifest {
  digest: Digest;
  mediaType: string;
  bytes: Buffer;
}

export interface SessionOptions {
  endpoint: Endpoint;
  reference: Reference;
  authorizer: Authorizer;
  attempts: number;
  delay: RetryDelay;
}

export class RegistrySession {
  readonly #endpoint: Endpoint;
  readonly #reference: Reference;
  readonly #authorizer: Authorizer;
  readonly #attempts: number;
  readonly #delay: RetryDelay;

  constructor({ endpoint, reference, authorizer, attempts, delay }: SessionOptions) {
    this.#endpoint = endpoint;
    this.#reference = reference;
    this.#authorizer = authorizer;
    this.#attempts = attempts;
    this.#delay = delay;
  }

  /** Canonical repository name, for the record of where a layer came from. */
  get repository(): string {
    return repositoryOf(this.#reference);
  }

  /** Is there a registry at all, and does it know us? Throws ExchangeError where nobody answers. */
  async ping(signal: AbortSignal | undefined): Promise<void> {
    const response = await exchange({
      method: "GET",
      url: `${this.#endpoint.base}/v2/`,
      headers: this.#authorizer.headers(),
      insecure: this.#endpoint.insecure,
      signal,
    });
    response.body.destroy();
    if (response.status === 401) await this.#authorize(response.headers["www-authenticate"], signal);
  }

  /** By tag or digest; verified, at most 4 MiB. Throws BerthError with Docker's texts. */
  async manifest(tagOrDigest: string, signal: AbortSignal | undefined): Promise<FetchedManifest> {
    const { bytes, response } = await this.#get(
      `manifests/${tagOrDigest}`,
      { accept: manifestTypes.join(", ") },
      manifestLimit,
      signal,
    );
    const digest = digestOf(bytes);
    const told = response.headers["docker-content-digest"];
    const expected = isDigest(tagOrDigest) ? tagOrDigest : isDigest(told) ? told : digest;
    if (digest !== expected) throw this.#mismatch("manifest", expected, digest);
    return { digest, mediaType: response.headers["content-type"] ?? "", bytes };
  }

  /** A blob small enough for memory: an image's configuration. */
  async smallBlob(digest: Digest, limit: number, signal: AbortSignal | undefined): Promise<Buffer> {
    const { bytes } = await this.#get(`blobs/${digest}`, {}, limit, signal);
    const actual = digestOf(bytes);
    if (actual !== digest) throw this.#mismatch("image configuration", digest, actual);
    return bytes;
  }

  blobAddress(digest: Digest): BlobAddress {
    return {
      url: this.#url(`blobs/${digest}`),
      headers: this.#authorizer.headers(),
      insecure: this.#endpoint.insecure,
    };
  }

  /** After a blob's 401: true if another attempt with `blobAddress` makes sense. */
  async reauthorize(wwwAuthenticate: string | undefined, signal: AbortSignal | undefined): Promise<boolean> {
    return this.#authorize(wwwAuthenticate, signal);
  }

  /** The error that a refused blob means. */
  blobError(status: number, wwwAuthenticate: string | undefined, body: string): BerthError {
    const refused = readRefusal(status, wwwAuthenticate, body);
    if (refused.code === "DENIED") return pullError(refused, this.#reference);
    return new BerthError("internal", refused.text, {
      operation: "download layer",
      object: familiarText(this.#reference),
      ...(status === 404 ? { hint: "the registry has the image's manifest but not all of its layers" } : {}),
    });
  }

  #url(rest: string): string {
    return `${this.#endpoint.base}/v2/${this.#reference.path}/${rest}`;
  }

  #authorize(wwwAuthenticate: string | undefined, signal: AbortSignal | undefined): Promise<boolean> {
    return this.#authorizer.answer(wwwAuthenticate, this.#endpoint.base, this.#endpoint.insecure, signal);
  }

  /** GET with authorization and repetition; anything but 200 is thrown. */
  async #get(
    rest: string,
    headers: Record<string, string>,
    limit: number,
    signal: AbortSignal | undefined,
  ): Promise<{ bytes: Buffer; response: ExchangeResponse }> {
    let challenged = false;
    for (let attempt = 1; ; attempt++) {
      let response: ExchangeResponse;
      let bytes: Buffer;
      try {
        response = await exchange({
          method: "GET",
          url: this.#url(rest),
          headers: { ...headers, ...this.#authorizer.headers() },
          insecure: this.#endpoint.insecure,
          signal,
        });
        bytes = await readBody(response, limit);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof ExchangeError)) throw error;
        if (isPermanentNetworkError(error.code) || attempt >= this.#attempts) throw this.#failed(error);
        await pause(this.#delay(attempt), signal);
        continue;
      }
      if (response.status === 200) return { bytes, response };
      const challenge = response.headers["www-authenticate"];
      if (response.status === 401 && !challenged) {
        challenged = true;
        if (await this.#authorize(challenge, signal)) continue;
      }
      if (isTransientStatus(response.status) && attempt < this.#attempts) {
        await pause(delayFor(attempt, response.headers["retry-after"], this.#delay), signal);
        continue;
      }
      throw pullError(readRefusal(response.status, challenge, bytes.toString("utf8")), this.#reference);
    }
  }

  #failed(error: ExchangeError): BerthError {
    return new BerthError("internal", error.message, {
      operation: "pull image",
      object: familiarText(this.#reference),
      cause: error,
    });
  }

  #mismatch(what: string, expected: Digest, actual: Digest): BerthError {
    return new BerthError(
      "internal",
      `${what} verification failed for digest ${expected}: the registry sent ${actual}`,
      {
        operation: "pull image",
        object: canonicalText(this.#reference),
        hint: "the registry, or something between it and this machine, alters content",
      },
    );
  }
}
