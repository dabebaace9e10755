/**
 * Content digests: "sha256:" and 64 lower-case hex digits.
 *
 * Only sha256 is accepted: it is the one algorithm every registry and every client speaks, and a second one would
 * double each place where content is verified.
 */
import { createHash } from "node:crypto";
import { BerthError } from "#errors/errors.ts";

/** "sha256:…", checked by `parseDigest` or made by `digestOf`. */
export type Digest = string;

const pattern = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: unknown): text is Digest {
  return typeof text === "string" && pattern.test(text);
}

/** Checks a digest that came from outside; `what` names it in the error: "layer digest". */
export function parseDigest(text: unknown, what: string): Digest {
  if (isDigest(text)) return text;
  throw new BerthError("invalid", `invalid ${what}: ${JSON.stringify(text)?.slice(0, 200) ?? "missing"}`, {
    operation: "parse digest",
    hint: 'a digest is "sha256:" and 64 lower-case hexadecimal digits',
  });
}

export function digestOf(content: string | Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(content).digest("hex")}`;
}

/** The 64 hex digits. */
export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}

/** The 12 digits shown to people, of a digest or a bare id. */
export function shortId(id: string): string {
  return hexOf(id).slice(0, 12);
}

/**
 * Chain ids of a stack of layers, lowest first (OCI image-spec, config.md): the lowest layer's is its diff id; each
 * further one is the digest over "<chain id below> <diff id>".
 */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  let below: Digest | undefined;
  for (const diffId of diffIds) {
    below = below === undefined ? diffId : digestOf(`${below} ${diffId}`);
    chain.push(below);
  }
  return chain;
}
