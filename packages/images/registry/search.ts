/**
 * docker search: asks a registry that has a search (`GET /v1/search`, which the hub and Docker's first registries know).
 *
 * Registries of today mostly have none; then the error says so.
 */

import type { RegistryAuth } from "#api-types/image.ts";
import { parseJson } from "#errors/bounded-json.ts";
import { BerthError } from "#errors/errors.ts";
import { defaultDomain, tryParseReference } from "../reference.ts";
import { type ConnectOptions, firstEndpoint } from "./connect.ts";
import type { Endpoint } from "./endpoint.ts";
import { exchange, readBody } from "./http-exchange.ts";
import { usableAuth } from "./usable-auth.ts";

/** The host that searches docker.io. */
const searchHost = "https://index.docker.io";
const answerLimit = 8 << 20;
const defaultLimit = 25;

export interface SearchRequest {
  /** "nginx", "registry.example/nginx". */
  term: string;
  /** 0: 25 of them. */
  limit: number;
  filters: Record<string, string[]>;
  auth: RegistryAuth | undefined;
}

export interface SearchResult {
  name: string;
  description: string;
  star_count: number;
  is_official: boolean;
  is_automated: boolean;
}

/** Throws BerthError: "invalid" for a wrong limit or filter, "internal" where the registry cannot or will not. */
export async function searchImages(
  request: SearchRequest,
  options: ConnectOptions,
  signal: AbortSignal | undefined,
): Promise<SearchResult[]> {
  const limit = request.limit === 0 ? defaultLimit : request.limit;
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) {
    throw invalid(`limit ${request.limit} is outside the range of [1, 100]`, request.term);
  }
  const fits = readFilters(request.filters, request.term);
  const { domain, term } = splitTerm(request.term);
  const registry = { domain, operation: "search images", object: request.term };
  const unmirrored = { ...options, registryMirrors: [] };
  const found = await firstEndpoint(registry, unmirrored, signal, (endpoint) => {
    const base = domain === defaultDomain ? searchHost : endpoint.base;
    return ask({ ...endpoint, base }, term, limit, request.auth, signal);
  });
  return found.filter(fits);
}

/** What stands before the first slash is a registry if it looks like one. */
function splitTerm(text: string): { domain: string; term: string } {
  if (/^https?:\/\//.test(text)) {
    throw invalid(`invalid repository name: repository name (${text}) should not have a scheme`, text);
  }
  const slash = text.indexOf("/");
  const first = text.slice(0, Math.max(slash, 0));
  const domain = /[.:]/.test(first) || first === "localhost" ? first : "";
  if (domain === "" || domain === "index.docker.io" || domain === defaultDomain) {
    return {
      domain: defaultDomain,
      term: text.slice(domain === "" ? 0 : slash + 1).replace(/^library\//, ""),
    };
  }
  if (tryParseReference(`${domain}/x`) === undefined) throw invalid("invalid reference format", text);
  return { domain, term: text.slice(slash + 1) };
}

async function ask(
  { base, transport }: Endpoint,
  term: string,
  limit: number,
  auth: RegistryAuth | undefined,
  signal: AbortSignal | undefined,
): Promise<SearchResult[]> {
  const query = new URLSearchParams({ q: term, n: String(limit) });
  const { username, password } = usableAuth(auth) ?? {};
  const credentials = Buffer.from(`${username}:${password ?? ""}`).toString("base64");
  const response = await exchange({
    method: "GET",
    url: `${base}/v1/search?${query}`,
    headers: username ? { authorization: `Basic ${credentials}` } : {},
    transport,
    signal,
  });
  const body = await readBody(response, answerLimit);
  const detail = { operation: "search images", object: term };
  if (response.status !== 200) {
    throw new BerthError("internal", `Unexpected status code ${response.status}`, {
      ...detail,
      ...(response.status === 404 ? { hint: `${new URL(base).host} has no search` } : {}),
    });
  }
  const results = readResults(body);
  if (results !== undefined) return results.slice(0, limit);
  throw new BerthError("internal", `${new URL(base).host} gave no list of images`, detail);
}

function readResults(body: Buffer): SearchResult[] | undefined {
  let results: unknown;
  try {
    results = (parseJson(body.toString("utf8")) as { results?: unknown } | null)?.results ?? [];
  } catch {
    return undefined; // told by the caller
  }
  if (!Array.isArray(results)) return undefined;
  return results.flatMap((value: Record<string, unknown> | null) =>
    typeof value?.name === "string"
      ? [
          {
            star_count: typeof value.star_count === "number" ? value.star_count : 0,
            is_official: value.is_official === true,
            name: value.name,
            is_automated: value.is_automated === true,
            description: typeof value.description === "string" ? value.description : "",
          },
        ]
      : [],
  );
}

function readFilters(filters: Record<string, string[]>, term: string): (result: SearchResult) => boolean {
  for (const name of Object.keys(filters)) {
    if (!["is-automated", "is-official", "stars"].includes(name))
      throw invalid(`invalid filter '${name}'`, term);
  }
  const flag = (name: string): boolean | undefined => {
    const values = filters[name] ?? [];
    if (values.length === 0) return undefined;
    if (values.every((value) => ["true", "1"].includes(value))) return true;
    if (values.every((value) => ["false", "0"].includes(value))) return false;
    throw invalid(`invalid filter '${name}=${values.join(",")}'`, term);
  };
  const stars = (filters.stars ?? []).map((value) => {
    if (!/^\d{1,9}$/.test(value)) throw invalid(`invalid filter 'stars=${value}'`, term);
    return Number(value);
  });
  const automated = flag("is-automated");
  const official = flag("is-official");
  return (result) =>
    (automated === undefined || result.is_automated === automated) &&
    (official === undefined || result.is_official === official) &&
    result.star_count >= Math.max(0, ...stars);
}

function invalid(message: string, object: string): BerthError {
  return new BerthError("invalid", message, { operation: "search images", object });
}
