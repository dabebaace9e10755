/**
 * What was measured of all contestants, held against the best peer, the budget and the floor: the rows of the table. Pure.
 */
import type { Unit } from "./case-types.ts";
import { median, quantile } from "./statistics.ts";

export const BERTH = "berth";
export const FLOOR = "floor";
/** The peer that budgets are shares of, unless a case names another. */
export const REFERENCE = "dockerd";
/** Medians this close are the same: the noise of a quiet machine. */
const LEVEL = 0.05;

export interface Goal {
  /** What Berth may need at most of the reference's figure; with `more`, what it has to reach at least. */
  budget?: number;
  /** An absolute limit to Berth's figure. */
  bound?: number;
  more?: boolean;
  why?: string;
  note?: string;
  reference?: string;
}

export interface Figure {
  median: number;
  /** The worse end: of rates the 5th percentile. */
  p95: number;
  values: number[];
}

export interface Row {
  section: string;
  name: string;
  unit: Unit;
  more: boolean;
  note: string | undefined;
  figures: Record<string, Figure>;
  /** Contestants without a figure, and why. */
  missing: Record<string, string>;
  best: string | undefined;
  /** Berth's median by the best peer's; NaN where either is missing. */
  ratio: number;
  /** Berth's median by the reference's, which the budget is about. */
  share: number;
  verdict: string;
  met: boolean;
  /** A peer is faster. */
  slower: boolean;
  why: string | undefined;
}

export interface Measured {
  section: string;
  name: string;
  unit: Unit;
  /** The runs of each contestant by its name. */
  values: ReadonlyMap<string, readonly number[]>;
  missing?: Readonly<Record<string, string>>;
}

export function makeRow({ section, name, unit, values, missing = {} }: Measured, goal: Goal): Row {
  const more = goal.more ?? false;
  const figures = Object.fromEntries(
    [...values]
      .filter(([, all]) => all.length > 0)
      .map(([who, all]): [string, Figure] => [
        who,
        { median: median(all), p95: quantile(all, more ? 0.05 : 0.95), values: [...all] },
      ]),
  );
  const mine = figures[BERTH]?.median ?? Number.NaN;
  const best = bestPeer(figures, more);
  const ratio = mine / (figures[best ?? ""]?.median ?? Number.NaN);
  const reference = goal.reference ?? REFERENCE;
  const share = mine / (figures[reference]?.median ?? Number.NaN);
  const slower = more ? ratio < 1 - LEVEL : ratio > 1 + LEVEL;
  return {
    section,
    name,
    unit,
    more,
    note: goal.note,
    figures,
    missing: { ...missing },
    best,
    ratio,
    share,
    ...judge(goal, unit, mine, share),
    slower,
    why: slower ? (goal.why ?? "no reason is known") : undefined,
  };
}

function bestPeer(figures: Readonly<Record<string, Figure>>, more: boolean): string | undefined {
  const peers = Object.entries(figures).filter(([who]) => who !== BERTH && who !== FLOOR);
  peers.sort(([, one], [, other]) => (more ? other.median - one.median : one.median - other.median));
  return peers[0]?.[0];
}

function judge(goal: Goal, unit: Unit, mine: number, share: number): { verdict: string; met: boolean } {
  const { budget, bound, more = false } = goal;
  const word = more ? "at least" : "at most";
  const holds = (value: number, limit: number) => (more ? value >= limit : value <= limit);
  const goals: { text: string; met: boolean }[] = [];
  if (budget !== undefined) {
    const known = !Number.isNaN(share);
    const met = holds(share, budget);
    const told = known ? (met ? "ok" : "OVER") : "not known";
    // A figure of dockerd's that isn't there is no failure of Berth's, one of Berth's is.
    goals.push({
      text: `${told}: ${word} ${times(budget)} of ${goal.reference ?? REFERENCE}'s`,
      met: met || (!known && !Number.isNaN(mine)),
    });
  }
  if (bound !== undefined) {
    const met = holds(mine, bound);
    goals.push({ text: `${met ? "ok" : "OVER"}: ${word} ${bound} ${unit}`, met });
  }
  return {
    verdict: goals.map(({ text }) => text).join(", "),
    met: goals.every(({ met }) => met),
  };
}

/** 1/7.2 for less than one, 3.1× for more. */
export function times(ratio: number): string {
  if (Number.isNaN(ratio)) return "-";
  if (ratio >= 1) return `${short(ratio)}×`;
  return ratio === 0 ? "0" : `1/${short(1 / ratio)}`;
}

function short(value: number): string {
  const text = value >= 100 ? value.toFixed(0) : value.toFixed(1);
  return text.endsWith(".0") ? text.slice(0, -2) : text;
}
