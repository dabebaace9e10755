/**
 * The Engine API as its specification has it: operations, parameters, fields and types of engine-api.json, and what follows
 * from them: every field of an operation by its path, and where an answer departs from it.
 *
 * Types: string, integer, boolean, any (an object that is not described), json (a string that holds JSON), binary, the name
 * of an object, [T] a list, {T} a map. Paths: `Mounts[].Source`, `Ports{}[].HostIp`; items of a list of lists are not
 * written apart.
 */
import { readFileSync } from "node:fs";

export interface ApiOperation {
  method: string;
  path: string;
  query?: Record<string, string>;
  headers?: string[];
  body?: string;
  answer?: string;
  answerHeaders?: string[];
}

interface EngineApi {
  version: string;
  operations: Record<string, ApiOperation>;
  types: Record<string, Record<string, string>>;
}

export interface Field {
  path: string;
  type: string;
}

export const engineApi = JSON.parse(
  readFileSync(new URL("engine-api.json", import.meta.url), "utf8"),
) as EngineApi;

/** Of an object of that type (or a list or map of such), every field at any depth. */
export function fieldsOf(type: string, within = "", seen: readonly string[] = []): Field[] {
  const { name, suffix } = unwrap(type);
  const fields = engineApi.types[name];
  if (fields === undefined || seen.includes(name)) return [];
  return Object.entries(fields).flatMap(([field, of]) => {
    const path = join(`${within}${within === "" ? "" : suffix}`, field);
    return [{ path, type: of }, ...fieldsOf(of, path, [...seen, name])];
  });
}

export interface Departure {
  path: string;
  what: string;
}

/**
 * What of a type's fields is there in a value: adds their paths to `seen`, a field that is null too, and to `beyond` those
 * of fields the specification doesn't have. Answers the values that are not of their field's type.
 */
export function compareWithType(
  type: string,
  value: unknown,
  seen: Set<string>,
  beyond: Set<string>,
  within = "",
): Departure[] {
  if (value === null || value === undefined || type === "any" || type === "json") return [];
  const inner = type.slice(1, -1);
  if (type.startsWith("[")) {
    if (!Array.isArray(value)) return [{ path: within, what: `is ${kindOf(value)}, not a list` }];
    const path = within === "" || within.endsWith("[]") ? within : `${within}[]`;
    return value.flatMap((item) => compareWithType(inner, item, seen, beyond, path));
  }
  if (type.startsWith("{")) {
    if (kindOf(value) !== "object") return [{ path: within, what: `is ${kindOf(value)}, not a map` }];
    return Object.values(value).flatMap((item) => compareWithType(inner, item, seen, beyond, `${within}{}`));
  }
  const fields = engineApi.types[type];
  if (fields === undefined) {
    return kindOf(value) === type ? [] : [{ path: within, what: `is ${kindOf(value)}, not ${type}` }];
  }
  if (kindOf(value) !== "object") return [{ path: within, what: `is ${kindOf(value)}, not an object` }];
  return Object.entries(value).flatMap(([name, item]) => {
    const path = join(within, name);
    const of = fields[name];
    (of === undefined ? beyond : seen).add(path);
    return of === undefined ? [] : compareWithType(of, item, seen, beyond, path);
  });
}

/** Two values of that type that differ from each other and from its default; one item in every list and map. */
export function samplesOf(type: string): [unknown, unknown] {
  const [one, other] =
    type.startsWith("[") || type.startsWith("{") ? samplesOf(type.slice(1, -1)) : ["probe", "other"];
  if (type.startsWith("[")) return [[one], [other]];
  if (type.startsWith("{")) return [{ probe: one }, { other }];
  if (type === "integer") return [7, 8];
  if (type === "boolean") return [true, false];
  return engineApi.types[type] === undefined && type !== "any" ? [one, other] : [{}, { probe: "probe" }];
}

/** The object that has nothing but the field of that path, with that value. */
export function objectWith(path: string, value: unknown): unknown {
  const at = /^([^.[{]+)((?:\[\]|\{\})*)\.?(.*)$/s.exec(path);
  if (at === null) return value;
  const [, name = "", wrappers = "", rest = ""] = at;
  let inner = rest === "" ? value : objectWith(rest, value);
  if (rest !== "") {
    for (const wrapper of (wrappers.match(/\[\]|\{\}/g) ?? []).reverse()) {
      inner = wrapper === "[]" ? [inner] : { probe: inner };
    }
  }
  return { [name]: inner };
}

function unwrap(type: string): { name: string; suffix: string } {
  let name = type;
  let suffix = "";
  while (name.startsWith("[") || name.startsWith("{")) {
    if (!(name.startsWith("[") && suffix.endsWith("[]"))) suffix += name.startsWith("[") ? "[]" : "{}";
    name = name.slice(1, -1);
  }
  return { name, suffix };
}

function join(within: string, name: string): string {
  return within === "" ? name : `${within}.${name}`;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "list";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "fraction";
  return typeof value;
}

/** A request's path under the specification's version. */
export function newestPath(path: string, query: Record<string, string>): string {
  const search = new URLSearchParams(query).toString();
  return `/v${engineApi.version}${path}${search === "" ? "" : `?${search}`}`;
}
