/**
 * docs/api.md: every operation and field of the specification, and what Berth does with it. Nothing here is a claim: served
 * is what a real daemon has answered (observed.json), taken what the handlers were seen to heed (probe.ts).
 */
import { readFileSync } from "node:fs";
import { type ApiOperation, engineApi, fieldsOf } from "./engine-api.ts";
import type { ObservedFile } from "./observe.ts";
import { Probe } from "./probe.ts";
import { reasonFor } from "./reasons.ts";

export interface Row {
  place: "query" | "header" | "body" | "answer";
  name: string;
  type: string;
  there: boolean;
  /** Why it need not be there. */
  reason: string | undefined;
}

export interface OperationTable {
  id: string;
  operation: ApiOperation;
  group: string;
  served: boolean;
  /** What it answers if it isn't. */
  refusal: string | undefined;
  rows: Row[];
  /** Answered, though the specification doesn't have it. */
  beyond: string[];
}

export const observedPath = new URL("observed.json", import.meta.url);

/** Those in which nothing may be missing. */
export const completeGroups = ["System", "Containers", "Execs", "Volumes"];

const groups: [string, RegExp][] = [
  ["System", /^System/],
  ["Execs", /^Exec|^ContainerExec$/],
  ["Containers", /^(Container|PutContainer)/],
  ["Volumes", /^Volume/],
  ["Images", /^(Image|Build|Distribution|Session)/],
  ["Networks", /^Network/],
  ["Plugins", /Plugin/],
  ["Swarm", /./],
];

export async function makeTables(): Promise<OperationTable[]> {
  const observed = JSON.parse(readFileSync(observedPath, "utf8")) as ObservedFile;
  await using probe = await Probe.start();
  const tables: OperationTable[] = [];
  for (const [id, operation] of Object.entries(engineApi.operations)) {
    const taken = await probe.taken(id);
    const failed = await probe.failureFields(id);
    const answered = new Set([...(observed.answers[id] ?? []), ...failed]);
    const heads = new Set(observed.headers[id] ?? []);
    const shown = observed.shown[id];
    const bodyThere = (path: string) =>
      shown === undefined ? taken.body.includes(path) : isIn(path, shown) && isIn(path, taken.body);
    const row = (place: Row["place"], name: string, type: string, there: boolean): Row => ({
      place,
      name,
      type,
      there,
      reason: there ? undefined : reasonFor(id, `${place} ${name}`),
    });
    tables.push({
      id,
      operation,
      group: groups.find(([, pattern]) => pattern.test(id))?.[0] ?? "",
      served: observed.served.includes(id),
      refusal: observed.refused[id],
      beyond: observed.beyond[id] ?? [],
      rows: [
        ...Object.entries(operation.query ?? {}).map(([name, type]) =>
          row("query", name, type, taken.query.includes(name)),
        ),
        ...(operation.headers ?? []).map((name) =>
          row("header", name, "string", taken.headers.includes(name)),
        ),
        ...fieldsOf(operation.body ?? "").map(({ path, type }) => row("body", path, type, bodyThere(path))),
        ...(operation.answerHeaders ?? []).map((name) => row("header", name, "string", heads.has(name))),
        ...fieldsOf(operation.answer ?? "").map(({ path, type }) =>
          row("answer", path, type, answered.has(path)),
        ),
      ],
    });
  }
  return tables;
}

/** Of served operations: what is neither there nor has a reason not to be; and operations that have none either. */
export function missingIn(tables: readonly OperationTable[]): string[] {
  return tables.flatMap(({ id, served, refusal, rows }) => {
    if (!served) return reasonFor(id, "query") === undefined ? [`${id}: ${refusal ?? "never asked"}`] : [];
    return rows
      .filter(({ there, reason }) => !there && reason === undefined)
      .map(({ place, name }) => `${id}: ${place} ${name}`);
  });
}

export function renderTables(tables: readonly OperationTable[]): string {
  const order = groups.map(([name]) => name);
  const byGroup = order.map((name) => ({ name, tables: tables.filter(({ group }) => group === name) }));
  return [
    "# The Engine API, field by field",
    "",
    `Every operation, parameter and field of version ${engineApi.version} of the Docker Engine API, and whether Berth has it.`,
    "`npm run api-table` writes this file: a parameter or a field of a request is there if the API's handlers heed",
    "it, and, where an object can be inspected, if inspecting it shows the value; a field of an answer if a real daemon has",
    "answered it with a value of its type. Tests fail when the file is not what they find. Names after dots are fields of",
    "objects, `[]` stands for the items of a list, `{}` for those of a map.",
    "",
    "| | operations | served | fields of those | there | need not be | missing |",
    "|---|---|---|---|---|---|---|",
    ...byGroup.map(({ name, tables: of }) => summaryLine(name, of)),
    "",
    "## Operations that are not served",
    "",
    ...tables
      .filter(({ served }) => !served)
      .map(({ id, operation, refusal }) => `- \`${operation.method} ${operation.path}\` (${id}): ${refusal}`),
    "",
    ...byGroup.flatMap(({ name, tables: of }) => [`## ${name}`, "", ...of.flatMap(operationLines)]),
  ].join("\n");
}

function summaryLine(name: string, tables: readonly OperationTable[]): string {
  const served = tables.filter((table) => table.served);
  const rows = served.flatMap((table) => table.rows);
  const there = rows.filter((row) => row.there).length;
  const excused = rows.filter((row) => row.reason !== undefined).length;
  const cells = [
    name,
    tables.length,
    served.length,
    rows.length,
    there,
    excused,
    rows.length - there - excused,
  ];
  return `| ${cells.join(" | ")} |`;
}

function operationLines({ id, operation, served, rows, beyond }: OperationTable): string[] {
  const lines = [`### ${operation.method} ${operation.path}`, "", id, ""];
  if (!served) {
    if (rows.length > 0) {
      const names = rows.map(({ place, name }) => `${place} \`${name}\``);
      lines.push(`Not served, so none of these is there: ${names.join(", ")}.`, "");
    }
    return lines;
  }
  if (rows.length > 0) {
    lines.push("| | field | type | there |", "|---|---|---|---|");
    for (const { place, name, type, there, reason } of rows) {
      lines.push(`| ${place} | \`${name}\` | ${type} | ${there ? "yes" : (reason ?? "**no**")} |`);
    }
    lines.push("");
  }
  if (beyond.length > 0) {
    lines.push(`Answered besides: ${beyond.map((name) => `\`${name}\``).join(", ")}.`, "");
  }
  return lines;
}

/** An object is there if anything in it is. */
function isIn(path: string, paths: readonly string[]): boolean {
  return paths.some(
    (other) => other === path || (other.startsWith(path) && /^[.[{]/.test(other.slice(path.length))),
  );
}
