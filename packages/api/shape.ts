/**
 * Shapes of JSON bodies: checks types field by field and names the field that is wrong.
 *
 * Follows what Docker's clients have come to rely on: unknown fields are dropped, names match whatever their
 * case, null is the same as absent (where the field may be null it stays null), and null inside a list or map
 * is the empty value. The result is a fresh object with known fields only, so what lies behind may trust its
 * type. Values are not judged here, only types.
 */
import { BerthError } from "#errors/errors.ts";

export interface Shape<T> {
  /** Throws "invalid". `path` is the field's name as far as known: "HostConfig.Binds[2]". */
  read(value: unknown, path: string): T;
  /** What null stands for inside a list or a map. */
  readonly empty: T;
  /** May a field of this shape be null? */
  readonly nullable?: true;
}

export const text: Shape<string> = {
  empty: "",
  read(value, path) {
    if (typeof value !== "string") throw wrong(path, "a string", value);
    return value;
  },
};

export const boolean: Shape<boolean> = {
  empty: false,
  read(value, path) {
    if (typeof value !== "boolean") throw wrong(path, "true or false", value);
    return value;
  },
};

/** A whole number of up to 64 bits; beyond 2^53 it is only as exact as JavaScript has it. */
export const integer: Shape<number> = {
  empty: 0,
  read(value, path) {
    if (typeof value !== "number" || !Number.isInteger(value) || Math.abs(value) > 2 ** 63) {
      throw wrong(path, "a whole number", value);
    }
    return value;
  },
};

/** Not looked into. */
export const anything: Shape<unknown> = { empty: null, read: (value) => value };

/** An object without fields, as in {"80/tcp": {}}. */
export const emptyObject: Shape<Record<string, never>> = {
  empty: {},
  read(value, path) {
    asObject(value, path);
    return {};
  },
};

export function list<T>(of: Shape<T>): Shape<T[]> {
  return {
    empty: [],
    read(value, path) {
      if (!Array.isArray(value)) throw wrong(path, "a list", value);
      return value.map((item, index) => (item === null ? of.empty : of.read(item, `${path}[${index}]`)));
    },
  };
}

/** A string alone is a list of one: Cmd and Entrypoint may be given so. */
export const words: Shape<string[]> = {
  empty: [],
  read: (value, path) => (typeof value === "string" ? [value] : list(text).read(value, path)),
};

export function map<T>(of: Shape<T>): Shape<Record<string, T>> {
  return {
    empty: {},
    read(value, path) {
      const entries = Object.entries(asObject(value, path));
      // fromEntries makes own properties even of "__proto__".
      return Object.fromEntries(
        entries.map(([key, item]) => [
          key,
          item === null ? of.empty : of.read(item, `${path}[${JSON.stringify(key)}]`),
        ]),
      );
    },
  };
}

export function nullable<T>(of: Shape<T>): Shape<T | null> {
  return {
    empty: null,
    nullable: true,
    read: (value, path) => (value === null ? null : of.read(value, path)),
  };
}

/** Two whole numbers: height and width. */
export const size: Shape<[number, number]> = {
  empty: [0, 0],
  read(value, path) {
    const [height, width, ...rest] = list(integer).read(value, path);
    if (height === undefined || width === undefined || rest.length > 0)
      throw wrong(path, "a list of two numbers", value);
    return [height, width];
  },
};

type Fields<T> = { [K in keyof T]-?: Shape<Exclude<T[K], undefined>> };

/** The compiler sees to it that every field of T has a shape. */
export function object<T extends object>(fields: Fields<T>): Shape<T> {
  const byLowerCase = new Map<string, string>();
  for (const name of Object.keys(fields)) byLowerCase.set(name.toLowerCase(), name);
  const shapes = fields as Record<string, Shape<unknown>>;
  return {
    empty: {} as T,
    read(value, path) {
      const result: Record<string, unknown> = {};
      for (const [given, item] of Object.entries(asObject(value, path))) {
        const name = byLowerCase.get(given.toLowerCase());
        const shape = name === undefined ? undefined : shapes[name];
        if (name === undefined || shape === undefined) continue;
        if (item === null && shape.nullable === undefined) continue;
        result[name] = shape.read(item, path === "" ? name : `${path}.${name}`);
      }
      return result as T;
    },
  };
}

function asObject(value: unknown, path: string): object {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrong(path, "an object", value);
  return value;
}

function wrong(path: string, expected: string, value: unknown): BerthError {
  const found =
    value === null
      ? "null"
      : Array.isArray(value)
        ? "a list"
        : typeof value === "object"
          ? "an object"
          : `a ${typeof value}`;
  const fraction =
    expected === "a whole number" && typeof value === "number" ? `not ${value}` : `not ${found}`;
  const subject = path === "" ? "the body" : path;
  return new BerthError("invalid", `invalid JSON: ${subject} must be ${expected}, ${fraction}`, {
    operation: "read request body",
    object: path,
  });
}
