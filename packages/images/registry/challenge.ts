/**
 * The `WWW-Authenticate` header (RFC 9110, 11.3; bearer parameters: distribution-spec's token authentication).
 *
 * Pure parsing; a header that cannot be understood yields no challenge rather than an error.
 */

export interface Challenge {
  /** Lower case: "bearer", "basic". */
  scheme: string;
  /** Names in lower case. */
  parameters: Record<string, string>;
}

/** All challenges of a header that may hold several. */
export function parseChallenges(header: string | undefined): Challenge[] {
  if (header === undefined) return [];
  const challenges: Challenge[] = [];
  let rest = header.slice(0, 8192).trim();
  while (rest !== "") {
    const parameter = /^([\w!#$%&'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*,?\s*/.exec(rest);
    const current = challenges.at(-1);
    if (parameter !== null && current !== undefined) {
      const [, name = "", quoted, bare = ""] = parameter;
      current.parameters[name.toLowerCase()] = quoted === undefined ? bare : quoted.replace(/\\(.)/g, "$1");
      rest = rest.slice(parameter[0].length);
      continue;
    }
    const scheme = /^([A-Za-z][\w-]*)(?:\s+|\s*,\s*|$)/.exec(rest);
    if (scheme === null) return challenges;
    challenges.push({ scheme: (scheme[1] ?? "").toLowerCase(), parameters: Object.create(null) });
    rest = rest.slice(scheme[0].length);
  }
  return challenges;
}
