/** Requests made wrong: other types, other paths, broken JSON, and bytes no client sends. */
import type { Dice } from "../dice.ts";
import type { FuzzRequest } from "./grammar.ts";

const STRANGE_TEXTS = [
  "",
  "\0",
  "../../..",
  "%",
  "%2e%2e%2f",
  "ü€𐍈",
  "\r\nX: y",
  "-1",
  "9".repeat(40),
  "a".repeat(5000),
  " ",
];
const STRANGE_VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  1e308,
  "",
  "text",
  [],
  [[]],
  {},
  { a: { b: [null] } },
];
const METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"];

export function mutated(request: FuzzRequest, dice: Dice): FuzzRequest {
  const result = structuredClone(request);
  if (Buffer.isBuffer(request.body)) result.body = request.body;
  for (let times = dice.between(1, 3); times > 0; times--) {
    dice.weighted<(request: FuzzRequest, dice: Dice) => void>([
      [mutateBody, 6],
      [mutateQuery, 3],
      [mutatePath, 2],
      [mutateMethod, 1],
      [mutateContentType, 1],
      [mutateHeader, 2],
    ])(result, dice);
  }
  return result;
}

function mutateBody(request: FuzzRequest, dice: Dice): void {
  const { body } = request;
  if (body === undefined || Buffer.isBuffer(body)) {
    request.body = Buffer.from(dice.pick(STRANGE_TEXTS) ?? "");
    return;
  }
  if (dice.oneIn(5)) request.body = broken(JSON.stringify(body.json) ?? "", dice);
  else body.json = changed(body.json, dice);
}

/** Some value in it becomes a strange one. */
function changed(value: unknown, dice: Dice): unknown {
  if (typeof value !== "object" || value === null || dice.oneIn(8)) return dice.pick(STRANGE_VALUES);
  const keys = Object.keys(value);
  const key = dice.pick(keys);
  if (key === undefined) return dice.pick(STRANGE_VALUES);
  const inside = (value as Record<string, unknown>)[key];
  const other = Array.isArray(value) ? [...value] : { ...value };
  (other as Record<string, unknown>)[key] = changed(inside, dice);
  return other;
}

function broken(text: string, dice: Dice): Buffer {
  const at = dice.between(0, text.length);
  const texts = [
    text.slice(0, at),
    `${text.slice(0, at)}${dice.pick(STRANGE_TEXTS)}${text.slice(at)}`,
    "[".repeat(20_000),
    '{"a":'.repeat(5000),
    `${text}${text}`,
    `"${"x".repeat(200_000)}"`,
    '{"__proto__":{"Image":"x"},"constructor":1}',
  ];
  const bytes = Buffer.from(dice.pick(texts) ?? "");
  if (dice.oneIn(4) && bytes.length > 0) bytes[dice.between(0, bytes.length - 1)] = dice.between(0, 255);
  return bytes;
}

function mutateQuery(request: FuzzRequest, dice: Dice): void {
  const name =
    dice.pick(Object.keys(request.query)) ?? dice.pick(["all", "filters", "t", "force", "name"]) ?? "";
  request.query[name] = dice.pick([...STRANGE_TEXTS, '{"', '{"name":1}', '{"name":{"a":true}}', "[]"]) ?? "";
}

function mutatePath(request: FuzzRequest, dice: Dice): void {
  const parts = request.path.split("/");
  const strange = encodeURIComponent(dice.pick(STRANGE_TEXTS) ?? "");
  parts.splice(dice.between(0, parts.length), dice.between(0, 1), dice.oneIn(4) ? "%zz" : strange);
  request.path = `/${parts.join("/").replace(/^\/+/, "")}`;
  if (dice.oneIn(3)) request.path = `/v${dice.pick(["1.24", "1.51", "1.99", "0.1", "x"])}${request.path}`;
}

function mutateMethod(request: FuzzRequest, dice: Dice): void {
  request.method = dice.pick(METHODS) ?? "GET";
}

function mutateContentType(request: FuzzRequest, dice: Dice): void {
  request.headers["Content-Type"] = dice.pick(["text/plain", "", "application/json; x"]) ?? "";
}

/** Headers that the API reads, and some that it had better not trip over. */
const HEADERS = [
  ...[
    "X-Registry-Auth",
    "X-Registry-Config",
    "Accept",
    "Accept-Encoding",
    "Cookie",
    "Range",
    "If-None-Match",
  ],
  ...["Expect", "Upgrade", "Host", "Origin", "Content-Encoding", "User-Agent", "Transfer-Encoding"],
];

function mutateHeader(request: FuzzRequest, dice: Dice): void {
  const name = dice.pick(HEADERS) ?? "";
  const texts = [
    ...STRANGE_TEXTS,
    "100-continue",
    "gzip",
    "chunked",
    "tcp",
    "bnVsbA==",
    "eyJhdXRoIjoxfQ==",
    "x".repeat(7000),
  ];
  request.headers[name] = dice.pick(texts) ?? "";
}
