/** What was measured of both peers, held against its budget, and printed. */
import { median, quantile } from "./statistics.ts";
import { printTable } from "./table.ts";

export interface Goal {
  /** The share of the peer's figure that Berth may need at most. */
  budget?: number;
  /** An absolute bound on Berth's figure. */
  bound?: number;
}

export interface Row {
  name: string;
  unit: string;
  figures: Record<string, { median: number; p95: number }>;
  ratio: number;
  verdict: string;
}

/** `values`: the runs of each peer by its name. */
export function makeRow(
  name: string,
  unit: string,
  values: ReadonlyMap<string, readonly number[]>,
  goal: Goal,
): Row {
  const figures = Object.fromEntries(
    [...values].map(([peer, all]) => [peer, { median: median(all), p95: quantile(all, 0.95) }]),
  );
  const mine = figures.berth?.median ?? Number.NaN;
  const ratio = mine / (figures.dockerd?.median ?? Number.NaN);
  return { name, unit, figures, ratio, verdict: verdict(goal, unit, mine, ratio) };
}

function verdict({ budget, bound }: Goal, unit: string, mine: number, ratio: number): string {
  if (Number.isNaN(mine)) return "not answered yet";
  const goals: string[] = [];
  if (budget !== undefined) {
    const whole = Math.abs(1 / budget - Math.round(1 / budget)) < 0.01;
    const share = budget < 1 && whole ? `1/${Math.round(1 / budget)}` : String(budget);
    goals.push(`${ratio <= budget ? "ok" : "OVER"}: at most ${share}`);
  }
  if (bound !== undefined) goals.push(`${mine <= bound ? "ok" : "OVER"}: at most ${bound} ${unit}`);
  return goals.join(", ");
}

export function printRows(rows: readonly Row[]): void {
  const table = rows.map((row) => {
    const figure = (name: string) => {
      const { median, p95 } = row.figures[name] ?? { median: Number.NaN, p95: Number.NaN };
      return Number.isNaN(median) ? "-" : `${median.toFixed(1)} / ${p95.toFixed(1)} ${row.unit}`;
    };
    const ratio = Number.isNaN(row.ratio) ? "-" : `1/${(1 / row.ratio).toFixed(1)}`;
    return [row.name, figure("berth"), figure("dockerd"), ratio, row.verdict];
  });
  const head = ["case", "berth (median / p95)", "dockerd (median / p95)", "ratio", "budget"];
  printTable([head, ...table]);
}
