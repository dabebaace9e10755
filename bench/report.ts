/** The rows as text: a table for each section, reasons and gaps below it. Pure. */
import { BERTH, type Figure, FLOOR, type Row, times } from "./rows.ts";
import { tableLines } from "./table.ts";

/** All sections; what is missing or slower is told by number below its table. */
export function reportLines(rows: readonly Row[]): string[] {
  const sections = [...new Set(rows.map(({ section }) => section))];
  return sections.flatMap((section) => [
    "",
    section,
    ...sectionLines(rows.filter((row) => row.section === section)),
  ]);
}

function sectionLines(rows: readonly Row[]): string[] {
  const notes: string[] = [];
  const note = (text: string): string => {
    if (!notes.includes(text)) notes.push(text);
    return `[${notes.indexOf(text) + 1}]`;
  };
  const peers = [
    ...new Set(rows.flatMap(({ figures, missing }) => [...Object.keys(figures), ...Object.keys(missing)])),
  ].filter((who) => who !== BERTH && who !== FLOOR);
  const lines = rows.map((row) => {
    const cell = (who: string) => figureText(row, who, note);
    const marks = [row.note, row.slower ? `slower than ${row.best}: ${row.why}` : undefined]
      .filter((text) => text !== undefined)
      .map(note);
    return [
      [row.name, ...marks].join(" "),
      row.unit,
      cell(BERTH),
      ...peers.map(cell),
      cell(FLOOR),
      row.best === undefined ? "-" : `${times(row.ratio)} ${row.best}${row.slower ? " SLOWER" : ""}`,
      row.verdict,
    ];
  });
  const head = ["median / p95", "", BERTH, ...peers, FLOOR, "to the best peer", "budget"];
  return [...tableLines([head, ...lines]), ...notes.map((text, index) => `  [${index + 1}] ${text}`)];
}

function figureText(row: Row, who: string, note: (text: string) => string): string {
  const figure = row.figures[who];
  if (figure !== undefined) return valueText(figure);
  const reason = row.missing[who];
  return reason === undefined ? "-" : `- ${note(`${who}: ${reason}`)}`;
}

function valueText({ median, p95 }: Figure): string {
  return `${digits(median)} / ${digits(p95)}`;
}

/** Three figures that tell. */
function digits(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
}
