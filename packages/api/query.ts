/**
 * Query parameters as Docker reads them. Never throws for a flag; says which parameter is wrong for a number.
 */
import { BerthError } from "#errors/errors.ts";

const falseWords = new Set(["", "0", "no", "false", "none"]);

export class Query {
  readonly #parameters: URLSearchParams;

  /** @param search what follows the "?", may be empty. */
  constructor(search: string) {
    this.#parameters = new URLSearchParams(search);
  }

  has(name: string): boolean {
    return this.#parameters.has(name);
  }

  /** The first value; empty if absent. */
  text(name: string): string {
    return this.#parameters.get(name) ?? "";
  }

  texts(name: string): string[] {
    return this.#parameters.getAll(name);
  }

  /**
   * Anything but "", "0", "no", "false" and "none" is true; `absent` is the answer when it is not there at
   * all.
   */
  flag(name: string, absent = false): boolean {
    const value = this.#parameters.get(name);
    return value === null ? absent : !falseWords.has(value.trim().toLowerCase());
  }

  /** A whole number; undefined if absent or empty. Throws "invalid" naming the parameter. */
  integer(name: string): number | undefined {
    const value = this.text(name);
    if (value === "") return undefined;
    const number = Number(value);
    if (!/^[+-]?[0-9]+$/.test(value) || !Number.isSafeInteger(number)) {
      throw new BerthError("invalid", `invalid value "${value}" for ${name}: it must be a whole number`, {
        operation: "read query",
        object: name,
      });
    }
    return number;
  }

  /** As `integer`, but it must be there and not be negative. */
  count(name: string): number {
    const number = this.integer(name);
    if (number === undefined || number < 0) {
      throw new BerthError(
        "invalid",
        `invalid value "${this.text(name)}" for ${name}: it must be 0 or more`,
        {
          operation: "read query",
          object: name,
        },
      );
    }
    return number;
  }
}
