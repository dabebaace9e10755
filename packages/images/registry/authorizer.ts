/**
 * Authorization for one pull, push or login: answers a registry's challenge with basic credentials or a bearer token.
 *
 * Tokens are kept per (realm, service, scope, account) until shortly before they expire, shared between pulls. Credentials
 * go only to the registry itself and to the token server it names, never in clear text on behalf of a TLS registry.
 */

import { createHash } from "node:crypto";
import type { RegistryAuth } from "#api-types/image.ts";
import { parseJson } from "#errors/bounded-json.ts";
import { BerthError } from "#errors/errors.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { exchange, readBody } from "./http-exchange.ts";
import { readRefusal } from "./registry-error.ts";
import { makeTransport, type Transport } from "./transport.ts";

/** distribution-spec, token authentication: a token lives 60 s where the server does not say. */
const defaultLifetimeSeconds = 60;
const tokenAnswerLimit = 1 << 20;
/** Tokens are per repository; a daemon that pulls from thousands must not keep them all. */
const cacheLimit = 500;

/** Under which token servers list what they gave out. */
const clientId = "berth";

interface CachedToken {
  token: string;
  /** Milliseconds since the epoch. */
  expires: number;
}

/** Bearer tokens of all pulls. */
export class TokenCache {
  readonly #tokens = new Map<string, CachedToken>();

  get(key: string): string | undefined {
    const entry = this.#tokens.get(key);
    if (entry === undefined || entry.expires <= Date.now()) return undefined;
    return entry.token;
  }

  set(key: string, token: string, lifetimeSeconds: number): void {
    if (this.#tokens.size >= cacheLimit) this.#tokens.delete(this.#tokens.keys().next().value ?? "");
    // Ten seconds less: the token must still be good when the request it is sent with arrives.
    this.#tokens.set(key, { token, expires: Date.now() + Math.max(lifetimeSeconds - 10, 5) * 1000 });
  }

  delete(key: string): void {
    this.#tokens.delete(key);
  }
}

export class Authorizer {
  readonly #auth: RegistryAuth;
  readonly #tokens: TokenCache;
  readonly #scope: string;
  readonly #offline: boolean;
  #header: string | undefined;
  #usedKey: string | undefined;
  /** The registry wants a password and we have none. */
  lacksCredentials = false;
  /** What a token server gave in place of the password, where `offline` asked for it. */
  identityToken: string | undefined;

  /** `scope`: "repository:library/busybox:pull", several with spaces between; empty: none (a login). */
  constructor(
    auth: RegistryAuth | undefined,
    tokens: TokenCache,
    scope: string,
    options: { offline?: boolean } = {},
  ) {
    this.#auth = auth ?? {};
    this.#tokens = tokens;
    this.#scope = scope;
    this.#offline = options.offline === true;
    if (this.#auth.registrytoken) this.#header = `Bearer ${this.#auth.registrytoken}`;
  }

  /** Headers for the next request, from what earlier challenges taught. */
  headers(): Record<string, string> {
    return this.#header === undefined ? {} : { authorization: this.#header };
  }

  /**
   * Answers a 401: true if the request is worth repeating with `headers()`. `base` is the registry's address, `used` the
   * authorization that was refused: if it has been replaced by now, that is all there is to do.
   * Throws BerthError where the token server refuses.
   */
  async answer(
    wwwAuthenticate: string | undefined,
    base: string,
    transport: Transport,
    signal: AbortSignal | undefined,
    used?: string,
  ): Promise<boolean> {
    const before = this.#header;
    if (used !== undefined && before !== undefined && used !== before) return true;
    const challenges = parseChallenges(wwwAuthenticate);
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    const basic = challenges.find(({ scheme }) => scheme === "basic");
    if (bearer !== undefined && !this.#auth.registrytoken) {
      if (this.#usedKey !== undefined && before?.startsWith("Bearer ")) this.#tokens.delete(this.#usedKey);
      this.#header = `Bearer ${await this.#token(bearer, base, transport, signal)}`;
    } else if (basic !== undefined) {
      const credentials = this.#credentials();
      this.lacksCredentials = credentials === undefined;
      if (credentials !== undefined) this.#header = credentials;
    }
    return this.#header !== before;
  }

  #credentials(): string | undefined {
    const { username, password, auth } = this.#auth;
    if (username) return `Basic ${Buffer.from(`${username}:${password ?? ""}`).toString("base64")}`;
    return auth ? `Basic ${auth}` : undefined;
  }

  async #token(
    { parameters }: Challenge,
    base: string,
    transport: Transport,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const realm = readRealm(parameters.realm, base);
    const service = parameters.service ?? "";
    const scope = parameters.scope ?? this.#scope;
    const key = this.#cacheKey(realm, service, scope);
    const known = this.#tokens.get(key);
    this.#usedKey = key;
    if (known !== undefined) return known;
    const response = await exchange({
      ...this.#tokenRequest(realm, service, scope, base),
      transport:
        realm.hostname === new URL(base).hostname
          ? transport
          : makeTransport({ ...transport, insecure: false }),
      signal,
    });
    const text = (await readBody(response, tokenAnswerLimit)).toString("utf8");
    if (response.status !== 200) {
      const { text: why } = readRefusal(response.status, response.headers["www-authenticate"], text);
      throw new BerthError("internal", `Get "${base}/v2/": ${why}`, {
        operation: "authenticate to registry",
        object: base,
        hint: `that is what its token server says, ${realm.origin}${realm.pathname}`,
      });
    }
    const { token, lifetime, refresh } = readToken(text, realm);
    this.identityToken = refresh;
    this.#tokens.set(key, token, lifetime);
    return token;
  }

  #tokenRequest(realm: URL, service: string, scope: string, base: string) {
    const { identitytoken } = this.#auth;
    const credentials = this.#credentials();
    if ((identitytoken || credentials) && realm.protocol === "http:" && base.startsWith("https:")) {
      throw new BerthError("internal", `refusing to send credentials to ${realm.href} in clear text`, {
        operation: "authenticate to registry",
        object: base,
      });
    }
    if (identitytoken) {
      const form = new URLSearchParams({
        grant_type: "refresh_token",
        refresh_token: identitytoken,
        client_id: clientId,
        service,
        scope,
      });
      return {
        method: "POST" as const,
        url: realm.href,
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: form.toString(),
      };
    }
    const url = new URL(realm);
    if (service !== "") url.searchParams.set("service", service);
    for (const one of scope.split(" ")) if (one !== "") url.searchParams.append("scope", one);
    if (this.#auth.username) url.searchParams.set("account", this.#auth.username);
    if (this.#offline) {
      url.searchParams.set("offline_token", "true");
      url.searchParams.set("client_id", clientId);
    }
    const headers: Record<string, string> = credentials === undefined ? {} : { authorization: credentials };
    return { method: "GET" as const, url: url.href, headers };
  }

  /** Credentials are part of the key, hashed: another password must not find the first one's token. */
  #cacheKey(realm: URL, service: string, scope: string): string {
    return JSON.stringify([realm.href, service, scope, this.account, this.#offline]);
  }

  /** Says whose rights these are without giving them away. */
  get account(): string {
    const { username, password, auth, identitytoken, registrytoken } = this.#auth;
    const secret = JSON.stringify([username, password, auth, identitytoken, registrytoken]);
    return createHash("sha256").update(secret).digest("hex");
  }
}

function readRealm(realm: string | undefined, base: string): URL {
  const url = realm === undefined ? null : URL.parse(realm);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new BerthError(
      "internal",
      `invalid token server address in the registry's answer: ${realm ?? "none"}`,
      {
        operation: "authenticate to registry",
        object: base,
      },
    );
  }
  return url;
}

interface TokenAnswer {
  token?: unknown;
  access_token?: unknown;
  refresh_token?: unknown;
  expires_in?: unknown;
}

function readToken(
  text: string,
  realm: URL,
): { token: string; lifetime: number; refresh: string | undefined } {
  let parsed: TokenAnswer | null = null;
  try {
    parsed = parseJson(text) as TokenAnswer | null;
  } catch {
    // told below, together with an answer that lacks the token
  }
  const token = parsed?.token ?? parsed?.access_token;
  // Anything that could end the header line is no token.
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) {
    throw new BerthError(
      "internal",
      `authorization server ${realm.host} did not include a token in the response`,
      {
        operation: "authenticate to registry",
        object: realm.href,
      },
    );
  }
  const lifetime = typeof parsed?.expires_in === "number" ? parsed.expires_in : defaultLifetimeSeconds;
  const refresh = typeof parsed?.refresh_token === "string" ? parsed.refresh_token : undefined;
  return { token, lifetime, refresh };
}
