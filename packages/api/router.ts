/**
 * From method and path to an operation and its parameters.
 *
 * Pure; never throws, whatever the path; a known path with another method is unknown too, as with dockerd.
 * Each operation's path becomes one regular expression; a fixed path is preferred to one with parameters, and
 * of those the one with the longest fixed part, so that GET /images/a/json/json is the image "a/json" and GET
 * /containers/json is the list.
 */
import type { Operation } from "./operations.ts";

export interface Match {
  operation: Operation;
  parameters: Readonly<Record<string, string>>;
}

export type Router = (method: string, path: string) => Match | undefined;

interface Pattern {
  operation: Operation;
  expression: RegExp;
  names: string[];
  fixedLength: number;
}

/** @param path percent-decoded, without version prefix and query. */
export function createRouter(operations: readonly Operation[]): Router {
  const fixed = new Map<string, Operation>();
  const byMethod = new Map<string, Pattern[]>();
  for (const operation of operations) {
    if (!operation.path.includes("{")) {
      fixed.set(`${operation.method} ${operation.path}`, operation);
      continue;
    }
    const patterns = byMethod.get(operation.method) ?? [];
    patterns.push(compile(operation));
    byMethod.set(operation.method, patterns);
  }
  for (const patterns of byMethod.values()) patterns.sort((a, b) => b.fixedLength - a.fixedLength);

  return (method, path) => {
    // dockerd answers /networks/ like /networks, and so on for every collection.
    const trimmed = path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
    const literal = fixed.get(`${method} ${trimmed}`);
    if (literal !== undefined) return { operation: literal, parameters: {} };
    for (const { operation, expression, names } of byMethod.get(method) ?? []) {
      const found = expression.exec(path);
      if (found === null) continue;
      const parameters = Object.fromEntries(names.map((name, index) => [name, found[index + 1] ?? ""]));
      return { operation, parameters };
    }
    return undefined;
  };
}

function compile(operation: Operation): Pattern {
  const names: string[] = [];
  const source = operation.path
    .split(/(\{[a-z]+\})/)
    .map((part) => {
      // Fixed parts are letters, digits, slashes, dashes and underscores: nothing to escape.
      if (!part.startsWith("{")) return part;
      names.push(part.slice(1, -1));
      return "(.+)";
    })
    .join("");
  return {
    operation,
    expression: new RegExp(`^${source}$`, "s"),
    names,
    fixedLength: operation.path.replace(/\{[a-z]+\}/g, "").length,
  };
}
