/** The output of ps as a table, for `docker top`. Pure. */
import { BerthError } from "#errors/errors.ts";

export interface ProcessTable {
  Titles: string[];
  Processes: string[][];
}

/** Keeps the rows whose PID column names one of `pids`. The last column takes all that is left of its line. */
export function filterProcesses(table: string, pids: ReadonlySet<string>): ProcessTable {
  const [header = "", ...lines] = table.split("\n").filter((line) => line.trim() !== "");
  const titles = header.trim().split(/\s+/);
  const pidColumn = titles.indexOf("PID");
  if (pidColumn < 0) {
    throw new BerthError("invalid", "Couldn't find PID field in ps output", {
      operation: "top",
      hint: "include the pid column in the ps arguments",
    });
  }
  const rows = lines.map((line) => splitColumns(line, titles.length));
  return { Titles: titles, Processes: rows.filter((row) => pids.has(row[pidColumn] ?? "")) };
}

function splitColumns(line: string, count: number): string[] {
  const words = line.trim().split(/\s+/);
  return [...words.slice(0, count - 1), words.slice(count - 1).join(" ")];
}
