/**
 * A conversation with one registry about one repository: manifests, small blobs, tags, and where a large blob is fetched.
 *
 * Speaks the distribution specification's pull half. Everything it returns has been compared with the digest it was asked
 * for. Layer blobs it never reads itself: it hands out address and headers, and the transfer worker does the reading.
 */
import { parseJson } from "#errors/bounded-json.ts";
import { BerthError } from "#errors/errors.ts";
import { type Digest, digestOf, isDigest } from "../digest.ts";
import { canonicalText, familiarText, type Reference, repositoryOf } from "../reference.ts";
import type { ExchangeResponse } from "./http-exchange.ts";
import { manifestLimit, manifestTypes } from "./manifest.ts";
import type { RegistryCaller } from "./registry-caller.ts";
import { pullError, type Refusal, readRefusal } from "./registry-error.ts";
import type { Transport } from "./transport.ts";

/** What the transfer worker needs for one attempt at a blob. */
export interface BlobAddress {
  url: string;
  headers: Record<string, string>;
  transport: Transport;
}

export interface FetchedManifest {
  digest: Digest;
  mediaType: string;
  bytes: Buffer;
}

/** A list of tags longer than this is no repository but an attack. */
const tagPagesLimit = 1000;

export class RegistrySession {
  readonly #caller: RegistryCaller;
  readonly #reference: Reference;

  readonly #explain: (refused: Refusal, reference: Reference) => BerthError;

  /** `explain` makes errors of refusals; those of a pull, if not given. */
  constructor(caller: RegistryCaller, reference: Reference, explain = pullError) {
    this.#caller = caller;
    this.#reference = reference;
    this.#explain = explain;
  }

  /** Canonical repository name, for the record of where a layer came from. */
  get repository(): string {
    return repositoryOf(this.#reference);
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

  /** All tags of the repository, as the registry orders them. */
  async tags(signal: AbortSignal | undefined): Promise<string[]> {
    const tags: string[] = [];
    let rest: string | undefined = "tags/list";
    for (let page = 0; rest !== undefined; page++) {
      const { bytes, response }: { bytes: Buffer; response: ExchangeResponse } = await this.#get(
        rest,
        {},
        manifestLimit,
        signal,
      );
      const found = readTags(bytes);
      if (found === undefined || page >= tagPagesLimit) {
        throw new BerthError("internal", `invalid list of tags of ${familiarText(this.#reference)}`, {
          operation: "list tags",
          object: familiarText(this.#reference),
        });
      }
      tags.push(...found);
      rest = nextPage(response);
    }
    return tags;
  }

  blobAddress(digest: Digest): BlobAddress {
    const url = this.#caller.url(this.#path(`blobs/${digest}`));
    return { url, headers: this.#caller.headersFor(url), transport: this.#caller.endpoint.transport };
  }

  /** After a blob's 401: true if another attempt with `blobAddress` makes sense. */
  async reauthorize(
    wwwAuthenticate: string | undefined,
    signal: AbortSignal | undefined,
    used: string | undefined,
  ): Promise<boolean> {
    return this.#caller.authorize(wwwAuthenticate, signal, { used });
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

  #path(rest: string): string {
    return `/v2/${this.#reference.path}/${rest}`;
  }

  /** Anything but 200 is thrown. */
  async #get(
    rest: string,
    headers: Record<string, string>,
    limit: number,
    signal: AbortSignal | undefined,
  ): Promise<{ bytes: Buffer; response: ExchangeResponse }> {
    const path = rest.startsWith("/v2/") ? rest : this.#path(rest);
    const called = await this.#caller.call({ method: "GET", path, headers, limit }, signal);
    const { status, headers: answered } = called.response;
    if (status === 200) return called;
    throw this.#explain(
      readRefusal(status, answered["www-authenticate"], called.bytes.toString("utf8")),
      this.#reference,
    );
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

function readTags(bytes: Buffer): string[] | undefined {
  try {
    const tags = (parseJson(bytes.toString("utf8")) as { tags?: unknown } | null)?.tags ?? [];
    if (!Array.isArray(tags)) return undefined;
    return tags.filter((tag): tag is string => typeof tag === "string" && /^[\w][\w.-]{0,127}$/.test(tag));
  } catch {
    return undefined; // told by the caller
  }
}

/** RFC 5988 `Link: </v2/x/tags/list?last=y>; rel="next"`; only below this registry's own /v2/. */
function nextPage(response: ExchangeResponse): string | undefined {
  const link = response.headers.link;
  const target = /<([^>]+)>\s*;\s*rel="?next"?/.exec(typeof link === "string" ? link : "")?.[1];
  if (target === undefined) return undefined;
  const url = new URL(target, response.url);
  return url.pathname.startsWith("/v2/") ? url.pathname + url.search : undefined;
}
