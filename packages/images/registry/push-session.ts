/**
 * A conversation with one registry about one repository that is pushed to: which blobs are there, uploads, manifests.
 *
 * Speaks the distribution specification's push half. A layer's bytes it never touches: it begins an upload, hands out address and
 * headers for the transfer worker, and closes the upload with the digest. Throws BerthError in Docker's words.
 */

import type { RegistryAuth } from "#api-types/image.ts";
import type { BerthError } from "#errors/errors.ts";
import { type Digest, digestOf, isDigest } from "../digest.ts";
import { type Reference, repositoryOf } from "../reference.ts";
import { Authorizer, type TokenCache } from "./authorizer.ts";
import type { Call, Called, RegistryCaller } from "./registry-caller.ts";
import { pushError, readRefusal } from "./registry-error.ts";
import type { BlobAddress } from "./registry-session.ts";

/** Milliseconds that tidying up may take. */
const abandonPatience = 5_000;

export interface PushSessionOptions {
  caller: RegistryCaller;
  reference: Reference;
  auth: RegistryAuth | undefined;
  tokens: TokenCache;
}

export class PushSession {
  readonly #caller: RegistryCaller;
  readonly #reference: Reference;
  readonly #auth: RegistryAuth | undefined;
  readonly #tokens: TokenCache;
  /** A mount needs rights in a second repository, and failing to get them must not spoil the first. */
  readonly #mounters = new Map<string, Authorizer>();

  constructor({ caller, reference, auth, tokens }: PushSessionOptions) {
    this.#caller = caller;
    this.#reference = reference;
    this.#auth = auth;
    this.#tokens = tokens;
  }

  /** Canonical: "localhost:5000/team/thing". */
  get repository(): string {
    return repositoryOf(this.#reference);
  }

  /** Where an upload goes and with whose rights: those with the same key may share one. */
  get shareKey(): string {
    return `${this.#caller.endpoint.base} ${this.repository} ${this.#caller.authorizer.account}`;
  }

  get attempts(): number {
    return this.#caller.attempts;
  }

  get delay() {
    return this.#caller.delay;
  }

  async hasBlob(digest: Digest, signal: AbortSignal | undefined): Promise<boolean> {
    const called = await this.#caller.call({ method: "HEAD", path: this.#path(`blobs/${digest}`) }, signal);
    if (called.response.status === 404) return false;
    if (called.response.status !== 200) throw this.#refused(called);
    return true;
  }

  /** Takes a blob over from another repository of the registry; false where it does not. */
  async mount(digest: Digest, from: string, signal: AbortSignal | undefined): Promise<boolean> {
    const query = new URLSearchParams({ mount: digest, from });
    let called: Called;
    try {
      called = await this.#caller.call(
        {
          method: "POST",
          path: this.#path(`blobs/uploads/?${query}`),
          body: "",
          authorizer: this.#mounter(from),
        },
        signal,
      );
    } catch {
      signal?.throwIfAborted();
      return false; // no rights over there, or no network now: sending the layer will show
    }
    const { status, headers } = called.response;
    if (status === 201) return true;
    const upload = headers.location;
    if (status === 202 && upload !== undefined) {
      // The registry began an ordinary upload instead. It would forget it some day; be tidy.
      await this.#caller
        .call({ method: "DELETE", path: this.#resolve(called, upload) }, signal)
        .catch(() => {});
    }
    return false;
  }

  /** Begins an upload; answers its address. */
  async begin(signal: AbortSignal | undefined): Promise<string> {
    const called = await this.#call(
      { method: "POST", path: this.#path("blobs/uploads/"), body: "" },
      [202],
      signal,
    );
    return this.#location(called);
  }

  /** What the transfer worker needs to send bytes to an upload. */
  uploadAddress(location: string): BlobAddress {
    return {
      url: location,
      headers: { ...this.#caller.headersFor(location), "content-type": "application/octet-stream" },
      transport: this.#caller.endpoint.transport,
    };
  }

  /** Ends an upload: the registry compares what it has with the digest. */
  async commit(location: string, digest: Digest, signal: AbortSignal | undefined): Promise<void> {
    const url = new URL(location);
    url.searchParams.set("digest", digest);
    const headers = { "content-type": "application/octet-stream" };
    await this.#call({ method: "PUT", path: url.href, headers, body: "" }, [201, 204], signal);
  }

  /** Tells the registry that an upload will not go on; it would forget it some day anyway. */
  async abandon(location: string): Promise<void> {
    // Not under the push's signal: this is what happens after it.
    const signal = AbortSignal.timeout(abandonPatience);
    await this.#caller.call({ method: "DELETE", path: location }, signal).catch(() => {});
  }

  /** A blob small enough for memory, unless it is there. */
  async putSmallBlob(bytes: Uint8Array, signal: AbortSignal | undefined): Promise<Digest> {
    const digest = digestOf(bytes);
    if (await this.hasBlob(digest, signal)) return digest;
    const url = new URL(await this.begin(signal));
    url.searchParams.set("digest", digest);
    const headers = { "content-type": "application/octet-stream" };
    await this.#call({ method: "PUT", path: url.href, headers, body: bytes }, [201, 204], signal);
    return digest;
  }

  async putManifest(
    tagOrDigest: string,
    mediaType: string,
    bytes: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<Digest> {
    const digest = digestOf(bytes);
    const called = await this.#call(
      {
        method: "PUT",
        path: this.#path(`manifests/${tagOrDigest}`),
        headers: { "content-type": mediaType },
        body: bytes,
      },
      [200, 201, 202],
      signal,
    );
    const told = called.response.headers["docker-content-digest"];
    if (isDigest(told) && told !== digest)
      throw this.#error(0, undefined, `the registry stored ${told} in place of ${digest}`);
    return digest;
  }

  reauthorize(
    wwwAuthenticate: string | undefined,
    signal: AbortSignal | undefined,
    used: string | undefined,
  ): Promise<boolean> {
    return this.#caller.authorize(wwwAuthenticate, signal, { used });
  }

  /** The error that a refused upload means. */
  blobError(status: number, wwwAuthenticate: string | undefined, body: string): BerthError {
    return this.#error(status, wwwAuthenticate, body);
  }

  #mounter(from: string): Authorizer {
    let mounter = this.#mounters.get(from);
    if (mounter === undefined) {
      const scope = `repository:${this.#reference.path}:pull,push repository:${from}:pull`;
      mounter = new Authorizer(this.#auth, this.#tokens, scope);
      this.#mounters.set(from, mounter);
    }
    return mounter;
  }

  #path(rest: string): string {
    return `/v2/${this.#reference.path}/${rest}`;
  }

  async #call(call: Call, expected: readonly number[], signal: AbortSignal | undefined): Promise<Called> {
    const called = await this.#caller.call(call, signal);
    if (expected.includes(called.response.status)) return called;
    throw this.#refused(called);
  }

  #location(called: Called): string {
    const location = called.response.headers.location;
    if (location === undefined) {
      throw this.#error(0, undefined, "the registry began an upload without saying where");
    }
    return this.#resolve(called, location);
  }

  #resolve({ response }: Called, location: string): string {
    return new URL(location, response.url).href;
  }

  #refused({ response, bytes }: Called): BerthError {
    return this.#error(response.status, response.headers["www-authenticate"], bytes.toString("utf8"));
  }

  #error(status: number, wwwAuthenticate: string | undefined, body: string): BerthError {
    const refused =
      status === 0 ? { code: "", text: body, status } : readRefusal(status, wwwAuthenticate, body);
    return pushError(refused, this.#reference);
  }
}
