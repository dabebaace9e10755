/**
 * One request to a registry and what comes with it: authorization, repetition, limits.
 *
 * Answers whatever status is final; which of them is a success is for the session to say. For small bodies only: layers go
 * through the blob threads. Credentials go to the endpoint itself and nowhere else.
 */
import { BerthError } from "#errors/errors.ts";
import type { Authorizer } from "./authorizer.ts";
import { delayFor, isPermanentNetworkError, isTransientStatus, pause, type RetryDelay } from "./back-off.ts";
import type { Endpoint } from "./endpoint.ts";
import {
  ExchangeError,
  type ExchangeRequest,
  type ExchangeResponse,
  exchange,
  readBody,
} from "./http-exchange.ts";

export interface CallerOptions {
  endpoint: Endpoint;
  authorizer: Authorizer;
  attempts: number;
  delay: RetryDelay;
  /** For errors: "pull image", and the image's name. */
  operation: string;
  object: string;
}

export interface Call {
  method: ExchangeRequest["method"];
  /** Below the endpoint ("/v2/…"), or a full address the registry gave. */
  path: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  /** Longest answer that is read, bytes. */
  limit?: number;
  /** In place of the caller's own. */
  authorizer?: Authorizer;
}

export interface Called {
  response: ExchangeResponse;
  bytes: Buffer;
}

/** Refusals are short; a registry that sends more is not read to the end. */
const answerLimit = 256 << 10;

export class RegistryCaller {
  readonly endpoint: Endpoint;
  readonly authorizer: Authorizer;
  readonly attempts: number;
  readonly delay: RetryDelay;
  readonly #detail: { operation: string; object: string };

  constructor({ endpoint, authorizer, attempts, delay, operation, object }: CallerOptions) {
    this.endpoint = endpoint;
    this.authorizer = authorizer;
    this.attempts = attempts;
    this.delay = delay;
    this.#detail = { operation, object };
  }

  /** Is there a registry at all, and does it know us? Throws ExchangeError where nobody answers. */
  async ping(signal: AbortSignal | undefined): Promise<void> {
    const response = await exchange({
      method: "GET",
      url: `${this.endpoint.base}/v2/`,
      headers: this.authorizer.headers(),
      transport: this.endpoint.transport,
      signal,
    });
    response.body.destroy();
    if (response.status === 401) await this.authorize(response.headers["www-authenticate"], signal);
  }

  /** The final answer. Throws BerthError where the network fails for good, and the signal's reason. */
  async call(call: Call, signal: AbortSignal | undefined): Promise<Called> {
    const authorizer = call.authorizer ?? this.authorizer;
    const url = this.url(call.path);
    let challenged = false;
    for (let attempt = 1; ; attempt++) {
      let called: Called;
      const used = authorizer.headers().authorization;
      try {
        called = await this.#once(call, url, authorizer, signal);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof ExchangeError)) throw error;
        if (isPermanentNetworkError(error.code) || attempt >= this.attempts) throw this.#failed(error);
        await pause(this.delay(attempt), signal);
        continue;
      }
      const { status, headers } = called.response;
      if (status === 401 && !challenged) {
        challenged = true;
        const challenge = headers["www-authenticate"];
        if (await this.authorize(challenge, signal, { authorizer, used })) continue;
      }
      if (status === 401 && authorizer.lacksCredentials) throw this.#nameless(call, url);
      if (!isTransientStatus(status) || attempt >= this.attempts) return called;
      await pause(delayFor(attempt, headers["retry-after"], this.delay), signal);
    }
  }

  /** Answers a challenge: true if the request is worth repeating. `used` is the authorization it was sent with. */
  authorize(
    wwwAuthenticate: string | undefined,
    signal: AbortSignal | undefined,
    { authorizer = this.authorizer, used }: { authorizer?: Authorizer; used?: string | undefined } = {},
  ): Promise<boolean> {
    return authorizer.answer(wwwAuthenticate, this.endpoint.base, this.endpoint.transport, signal, used);
  }

  /** The full address of a path, or of what the registry named relatively. */
  url(path: string): string {
    return new URL(path, `${this.endpoint.base}/`).href;
  }

  /** The headers that authorize a request to `url`; none where that is somewhere else. */
  headersFor(url: string, authorizer: Authorizer = this.authorizer): Record<string, string> {
    return new URL(url).origin === new URL(this.endpoint.base).origin ? authorizer.headers() : {};
  }

  async #once(
    { method, headers, body, limit = answerLimit }: Call,
    url: string,
    authorizer: Authorizer,
    signal: AbortSignal | undefined,
  ): Promise<Called> {
    const response = await exchange({
      method,
      url,
      headers: { ...headers, ...this.headersFor(url, authorizer) },
      transport: this.endpoint.transport,
      ...(body === undefined ? {} : { body }),
      signal,
    });
    return { response, bytes: await readBody(response, limit) };
  }

  /** Docker's words; it looks at manifests before it gets them, and pushes without telling addresses. */
  #nameless({ method, path }: Call, url: string): BerthError {
    const verb = path.includes("/manifests/") ? "Head" : method.charAt(0) + method.slice(1).toLowerCase();
    const prefix = this.#detail.operation === "push image" ? "" : `${verb} "${url}": `;
    return new BerthError("internal", `${prefix}no basic auth credentials`, {
      ...this.#detail,
      hint: `log in first: docker login ${new URL(this.endpoint.base).host}`,
    });
  }

  #failed(error: ExchangeError): BerthError {
    return new BerthError("internal", error.message, { ...this.#detail, cause: error });
  }
}
