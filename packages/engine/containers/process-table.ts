/** The output of ps as a table, for `docker top`. Pure. */
import { BerthError } from "#errors/errors.ts";

export interface ProcessTable {
  Titles: string[];
  Processes: string[][];
}

/**
 * Keeps the rows whose PID column names one of `pids`, and the rows of threads behind them, which have a dash there. The
 * last column takes all that is left of its line.
 */
export function filterProcesses(table: string, pids: ReadonlySet<string>): ProcessTable {
  const [header = "", ...lines] = table.split("\n").filter((line) => line.trim() !== "");
  const titles = header.trim().split(/\s+/);
  const pidColumn = titles.indexOf("PID");
  if (pidColumn < 0) {
    throw new BerthError("internal", "Couldn't find PID field in ps output", {
      operation: "top",
    });
  }
  let ours = false;
  const rows = lines
    .map((line) => splitColumns(line, titles.length))
    .filter((row) => {
      const pid = row[pidColumn] ?? "";
      if (pid !== "-") ours = pids.has(pid);
      return ours;
    });
  return { Titles: titles, Processes: rows };
}

/**
 * Throws "invalid" for a column that would be called PID without being it ("-o foo=PID"): whose processes are shown hangs
 * on that column alone.
 */
export function checkPsArguments(args: string): void {
  const renamed = /\s([^\s]*)=\s*(PID[^\s]*)/i.exec(` ${args}`);
  const [, column, title] = renamed ?? [];
  if (column === undefined || column.toLowerCase() === "pid") return;
  throw new BerthError("invalid", `specifying "${column}=${title}" is not allowed`, {
    operation: "top",
    object: args,
  });
}

function splitColumns(line: string, count: number): string[] {
  const words = line.trim().split(/\s+/);
  return [...words.slice(0, count - 1), words.slice(count - 1).join(" ")];
}
