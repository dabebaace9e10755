/**
 * Requests as the API's description has them: every operation with parameters and a body of the right shapes, filled
 * with words that are likely to mean something.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Dice } from "../dice.ts";

interface OperationShape {
  method: string;
  path: string;
  query?: Record<string, string>;
  headers?: string[];
  body?: string;
}

interface Description {
  operations: Record<string, OperationShape>;
  types: Record<string, unknown>;
}

export interface FuzzRequest {
  operation: string;
  method: string;
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  /** As bytes, or as what JSON will be made of. */
  body: Buffer | { json: unknown } | undefined;
}

/** Deeper than any request of the API. */
const DEPTH = 6;

const description = JSON.parse(
  readFileSync(resolve(import.meta.dirname, "../../test/api-table/engine-api.json"), "utf8"),
) as Description;

/** Every operation; those of an engine without a swarm, plugins and builds more often than the rest. */
export function anyOperation(dice: Dice): string {
  const rare = /Swarm|Node|Service|Task|Secret|Config|Plugin|Build|Distribution|Auth|Search/;
  const all = Object.keys(description.operations);
  const chosen = dice.oneIn(8) ? all : all.filter((name) => !rare.test(name));
  return dice.pick(chosen) ?? "SystemPing";
}

/**
 * Where a word may not be just any: a parent cgroup is a place on the machine, and a command is run.
 */
const FIXED: Record<string, readonly unknown[]> = {
  CgroupParent: ["", "/berth-fuzz", "relative"],
  Cmd: [["true"], ["sleep", "0.2"], ["sleep", "100"], ["no-such-command"], [], null],
  Entrypoint: [null, [], ["sh", "-c"], ["/nowhere"]],
  Image: ["berth/busybox", "berth/busybox:latest", "berth/busybox", "no-such-image", ""],
  Devices: [[], null],
  Signal: ["TERM", "9", "SIGNONE", ""],
};

export class Grammar {
  readonly #dice: Dice;
  /** Strings that name what there is now, besides the ones that always mean something. */
  readonly #words: () => readonly string[];

  constructor(dice: Dice, words: () => readonly string[]) {
    this.#dice = dice;
    this.#words = words;
  }

  request(operation: string): FuzzRequest {
    const shape = description.operations[operation];
    if (shape === undefined) throw new Error(`no operation ${operation}`);
    const { method, path, query = {}, headers = [], body } = shape;
    const filled = path.replace(/\{[a-z]+\}/g, () => encodeURIComponent(this.word()).replaceAll("%2F", "/"));
    const chosen = Object.entries(query).filter(() => this.#dice.oneIn(2));
    return {
      operation,
      method,
      path: filled,
      query: Object.fromEntries(chosen.map(([name, type]) => [name, this.#parameter(type)])),
      headers: Object.fromEntries(
        headers.filter(() => this.#dice.oneIn(2)).map((name) => [name, this.#header()]),
      ),
      body: body === undefined ? undefined : this.#body(body),
    };
  }

  word(): string {
    return this.#dice.pick(this.#words()) ?? "";
  }

  #body(type: string): FuzzRequest["body"] {
    if (type === "binary") return Buffer.from(this.word());
    return { json: this.value(type, 0) };
  }

  #header(): string {
    return Buffer.from(JSON.stringify({ username: this.word(), password: "x" })).toString("base64url");
  }

  #parameter(type: string): string {
    if (type === "json") return JSON.stringify({ [this.word()]: [this.word()] });
    const value = this.value(type.replace(/^\[(.*)\]$/, "$1"), DEPTH);
    return typeof value === "string" ? value : String(value);
  }

  /** A value of a type's name: "integer", "[Mount]", "{any}", "HostConfig". */
  value(type: unknown, depth: number): unknown {
    const dice = this.#dice;
    if (typeof type !== "string") return this.#object(type as Record<string, unknown>, depth);
    if (type.startsWith("[")) {
      const count = depth > DEPTH ? 0 : dice.between(0, 2);
      return Array.from({ length: count }, () => this.value(type.slice(1, -1), depth + 1));
    }
    if (type.startsWith("{")) {
      const count = depth > DEPTH ? 0 : dice.between(0, 2);
      const inner = type.slice(1, -1);
      return Object.fromEntries(
        Array.from({ length: count }, () => [this.word(), this.value(inner, depth + 1)]),
      );
    }
    if (type === "string") return this.word();
    if (type === "boolean") return dice.oneIn(2);
    if (type === "integer" || type === "number") {
      return dice.pick([0, 1, -1, 2, 10, 1000, 2 ** 31, 2 ** 53, -(2 ** 40), 4_194_304, 1.5]);
    }
    if (type === "any") return dice.pick([{}, null, "x", 1]);
    const named = description.types[type];
    return named === undefined || depth > DEPTH ? {} : this.value(named, depth + 1);
  }

  /** Some of its fields: with all of them nothing would ever be accepted. */
  #object(fields: Record<string, unknown>, depth: number): Record<string, unknown> {
    const share = this.#dice.pick([2, 6, 20]) ?? 2;
    const chosen = Object.entries(fields).filter(
      ([name]) => name === "Image" || name === "Cmd" || this.#dice.oneIn(share),
    );
    return Object.fromEntries(
      chosen.map(([name, type]) => {
        const fixed = FIXED[name];
        return [name, fixed === undefined ? this.value(type, depth + 1) : this.#dice.pick(fixed)];
      }),
    );
  }
}
