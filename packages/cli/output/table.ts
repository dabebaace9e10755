/**
 * Tables and `--format`, as Docker prints lists: `table TEMPLATE` with headings, `json`, or a template once per row. A
 * row is an object of what its columns are called in templates.
 */
import { MissingFieldError, template } from "#go-template/template.ts";

export interface ListFormat {
  /** Template of the default table, without the word "table". */
  columns: string;
  headings: Record<string, string>;
  /** The one field that --quiet prints. */
  quiet: string;
}

/** Columns at least ten wide, three spaces between them; the last is as wide as its text. */
export function alignColumns(lines: readonly string[]): string {
  const rows = lines.map((line) => line.split("\t"));
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.slice(0, -1).entries())
      widths[i] = Math.max(widths[i] ?? 10, [...cell].length + 3);
  return rows
    .map((row) => row.map((cell, i) => (i < row.length - 1 ? pad(cell, widths[i] ?? 0) : cell)).join(""))
    .join("\n");
}

function pad(cell: string, width: number): string {
  return cell + " ".repeat(Math.max(0, width - [...cell].length));
}

/** Renders rows. `given` is the user's --format, "" for the default. Throws Error for a template that is wrong. */
export function renderList(
  rows: readonly object[],
  format: ListFormat,
  given: string,
  options: { quiet?: boolean } = {},
): string {
  if (given === "json") return rows.map((row) => `${goJson(plain(row))}\n`).join("");
  const table = given === "" || given === "table" || given.startsWith("table ");
  if (table && options.quiet && given !== "") return "";
  const text = table ? given.replace(/^table\s*/, "") || format.columns : given;
  if (options.quiet && given === "") return run(`{{.${format.quiet}}}`, rows).join("");
  const unescaped = text.replaceAll("\\t", "\t").replaceAll("\\n", "\n");
  if (!table) return run(unescaped, rows).join("");
  const heading = headingOf(unescaped, format.headings);
  const body = run(unescaped, rows).map((line) => line.replace(/\n$/, ""));
  return `${alignColumns([heading, ...body].flatMap((line) => line.split("\n")))}\n`;
}

function run(text: string, rows: readonly object[]): string[] {
  const compiled = template(text);
  return rows.map((row) => {
    try {
      return `${compiled(row)}\n`;
    } catch (error) {
      if (!(error instanceof MissingFieldError)) throw error;
      throw new Error(`failed to execute template: ${error.message}`);
    }
  });
}

/** The same template over the headings: functions of a field leave its heading as it is. */
function headingOf(text: string, headings: Record<string, string>): string {
  const fields = text.replace(/\{\{([\s\S]*?)\}\}/g, (_, action: string) => {
    const field = /\.(\w+)/.exec(action)?.[1];
    const label = /\.Label\s+"([^"]*)"/.exec(action)?.[1];
    if (label !== undefined) return label.split(/[-_.]/).join(" ");
    return field === undefined || /^\s*(else|end)\b/.test(action) ? "" : `{{.${field}}}`;
  });
  const seen = fields.replace(/(\{\{\.\w+\}\})(\1)+/g, "$1");
  return template(seen)(headings);
}

/** In the order of names, as Docker prints rows; what is looked up by name is no field. */
export function plain(row: object): Record<string, unknown> {
  const names = Object.keys(row)
    .filter((name) => name !== "Label")
    .sort();
  return Object.fromEntries(names.map((name) => [name, (row as Record<string, unknown>)[name]]));
}

/** Compact JSON as Go's encoder writes it, with `<`, `>` and `&` escaped. */
export function goJson(value: unknown): string {
  const escapes: Record<string, string> = { "<": "\\u003c", ">": "\\u003e", "&": "\\u0026" };
  return JSON.stringify(value).replace(/[<>&]/g, (character) => escapes[character] ?? character);
}
