/**
 * Names of images: Docker's reference grammar.
 *
 *   reference = [domain "/"] path [":" tag] ["@" digest]
 *
 * Everything is kept in canonical form ("docker.io/library/busybox") and shown in familiar form ("busybox"). Pure: never
 * looks at what images exist; whether "abc123" is a name or the beginning of an id is for the image store to say.
 */
import { BerthError } from "#errors/errors.ts";
import { type Digest, isDigest } from "./digest.ts";

export interface Reference {
  /** "docker.io", "localhost:5000". */
  domain: string;
  /** "library/busybox". */
  path: string;
  tag: string | undefined;
  digest: Digest | undefined;
}

export const defaultDomain = "docker.io";
const officialPrefix = "library/";
/** Longest path of a name, domain not counted (Docker's limit). */
const nameLimit = 255;

const pathComponent = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const domainComponent = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const domainPattern = new RegExp(
  `^(?:${domainComponent}(?:\\.${domainComponent})*|\\[[0-9a-fA-F:]+\\])(?::[0-9]+)?$`,
);
const tagPattern = /^[\w][\w.-]{0,127}$/;
const anyDigest = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
const identifier = /^[0-9a-f]{64}$/;

/**
 * Reads a name as a client gives it and normalises it: "busybox" becomes docker.io/library/busybox. No tag is added.
 * Throws BerthError "invalid" with Docker's texts.
 */
export function parseReference(text: string): Reference {
  if (identifier.test(text)) {
    throw invalid(text, `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  }
  const { name, tag, digest } = split(text);
  const { domain, remainder } = splitDomain(name);
  if (remainder === "") throw invalid(text, "invalid reference format");
  if (remainder.toLowerCase() !== remainder) {
    throw invalid(text, "invalid reference format: repository name must be lowercase");
  }
  const path = domain === defaultDomain && !remainder.includes("/") ? officialPrefix + remainder : remainder;
  if (!domainPattern.test(domain) || !path.split("/").every((part) => pathComponent.test(part))) {
    throw invalid(text, `invalid reference format`);
  }
  if (path.length > nameLimit) {
    throw invalid(text, `repository name must not be more than ${nameLimit} characters`);
  }
  if (tag !== undefined && !tagPattern.test(tag)) throw invalid(text, "invalid reference format");
  if (digest !== undefined) checkDigest(digest, text);
  return { domain, path, tag, digest };
}

/** As `parseReference`, but undefined where the text is no reference. */
export function tryParseReference(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch {
    return undefined; // the caller has another meaning for it: an id
  }
}

/** The same reference with ":latest" if it names neither tag nor digest. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === undefined && reference.digest === undefined
    ? { ...reference, tag: "latest" }
    : reference;
}

/** Checks a tag given on its own (`POST /images/x/tag?tag=…`). */
export function parseTag(tag: string): string {
  if (!tagPattern.test(tag)) throw invalid(tag, "invalid tag format");
  return tag;
}

/** "docker.io/library/busybox": the key under which tags and digests are stored. */
export function repositoryOf(reference: Reference): string {
  return `${reference.domain}/${reference.path}`;
}

/** "docker.io/library/busybox:1.36@sha256:…". */
export function canonicalText(reference: Reference): string {
  return repositoryOf(reference) + suffix(reference);
}

/** "busybox:1.36", as Docker shows it. */
export function familiarText(reference: Reference): string {
  return familiarRepository(repositoryOf(reference)) + suffix(reference);
}

/** "docker.io/library/busybox" → "busybox"; "docker.io/berth/busybox" → "berth/busybox"; others as they are. */
export function familiarRepository(repository: string): string {
  if (!repository.startsWith(`${defaultDomain}/`)) return repository;
  const path = repository.slice(defaultDomain.length + 1);
  const rest = path.slice(officialPrefix.length);
  return path.startsWith(officialPrefix) && !rest.includes("/") ? rest : path;
}

/** Could `text` be the beginning of an image id? At most 64 hex digits, with or without "sha256:". */
export function idPrefix(text: string): string | undefined {
  const hex = text.startsWith("sha256:") ? text.slice(7) : text;
  return /^[0-9a-f]{1,64}$/.test(hex) ? hex : undefined;
}

function checkDigest(digest: string, text: string): void {
  const known = digest.startsWith("sha256:");
  if (isDigest(digest)) return;
  if (!anyDigest.test(digest)) throw invalid(text, "invalid reference format");
  throw invalid(text, known ? "invalid checksum digest length" : "unsupported digest algorithm");
}

function suffix(reference: Reference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  return reference.digest === undefined ? tag : `${tag}@${reference.digest}`;
}

/** Cuts the digest at the first "@" and the tag at the last ":" after the last "/". */
function split(text: string): { name: string; tag: string | undefined; digest: string | undefined } {
  const at = text.indexOf("@");
  const digest = at === -1 ? undefined : text.slice(at + 1);
  const rest = at === -1 ? text : text.slice(0, at);
  const colon = rest.lastIndexOf(":");
  if (colon === -1 || colon < rest.lastIndexOf("/")) return { name: rest, tag: undefined, digest };
  return { name: rest.slice(0, colon), tag: rest.slice(colon + 1), digest };
}

/** What precedes the first "/" is a domain only if it looks like one: has a dot, a port, capitals, or is localhost. */
function splitDomain(name: string): { domain: string; remainder: string } {
  const slash = name.indexOf("/");
  const first = name.slice(0, slash);
  const isDomain =
    slash !== -1 && (/[.:]/.test(first) || first === "localhost" || first.toLowerCase() !== first);
  if (!isDomain) return { domain: defaultDomain, remainder: name };
  const domain = first === "index.docker.io" ? defaultDomain : first;
  return { domain, remainder: name.slice(slash + 1) };
}

function invalid(object: string, message: string): BerthError {
  return new BerthError("invalid", message, { operation: "parse image name", object });
}
