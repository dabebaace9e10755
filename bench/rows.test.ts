import assert from "node:assert/strict";
import { test } from "node:test";
import { type Goal, makeRow, times } from "./rows.ts";

function row(medians: Record<string, number>, goal: Goal = {}) {
  const values = new Map(Object.entries(medians).map(([who, value]) => [who, [value]]));
  return makeRow({ section: "s", name: "n", unit: "ms", values }, goal);
}

test("the ratio is to the best peer, which the floor is not", () => {
  const made = row({ berth: 10, dockerd: 100, podman: 40, floor: 5 });
  assert.equal(made.best, "podman");
  assert.equal(made.ratio, 0.25);
  assert.equal(made.share, 0.1);
  assert.equal(made.slower, false);
});

test("of rates the best is the largest, and p95 the lower end", () => {
  const values = new Map([
    ["berth", [10, 20, 30]],
    ["dockerd", [2]],
    ["podman", [5]],
  ]);
  const made = makeRow({ section: "s", name: "n", unit: "/s", values }, { more: true, budget: 12 });
  assert.equal(made.best, "podman");
  assert.equal(made.ratio, 4);
  assert.deepEqual([made.figures.berth?.median, made.figures.berth?.p95], [20, 10]);
  assert.equal(made.verdict, "OVER: at least 12× of dockerd's");
  assert.equal(made.met, false);
});

test("a budget is a share of dockerd's figure, whoever is best", () => {
  const made = row({ berth: 10, dockerd: 70, podman: 20 }, { budget: 1 / 7 });
  assert.equal(made.verdict, "ok: at most 1/7 of dockerd's");
  assert.equal(made.met, true);
  assert.equal(row({ berth: 11, dockerd: 70 }, { budget: 1 / 7 }).met, false);
});

test("a budget can be about another peer", () => {
  const made = row({ berth: 10, runc: 30, crun: 15 }, { budget: 1 / 2, reference: "runc" });
  assert.equal(made.verdict, "ok: at most 1/2 of runc's");
});

test("without dockerd nobody knows whether a budget is kept, without Berth it is not", () => {
  const unknown = row({ berth: 10, podman: 20 }, { budget: 1 / 7 });
  assert.deepEqual([unknown.verdict, unknown.met], ["not known: at most 1/7 of dockerd's", true]);
  assert.equal(row({ dockerd: 10 }, { budget: 1 / 7 }).met, false);
});

test("a bound is Berth's alone", () => {
  assert.equal(row({ berth: 21 }, { bound: 20 }).verdict, "OVER: at most 20 ms");
  assert.equal(row({ berth: 19 }, { bound: 20 }).verdict, "ok: at most 20 ms");
  assert.equal(row({}, { bound: 20 }).met, false);
});

test("a faster peer shows, with the reason; what is as fast as Berth is not faster", () => {
  const slower = row({ berth: 30, dockerd: 20 }, { why: "because" });
  assert.deepEqual([slower.slower, slower.why], [true, "because"]);
  assert.equal(row({ berth: 30, dockerd: 20 }).why, "no reason is known");
  const level = row({ berth: 20.5, dockerd: 20 }, { why: "because" });
  assert.deepEqual([level.slower, level.why], [false, undefined]);
  const rate = makeRow(
    {
      section: "s",
      name: "n",
      unit: "/s",
      values: new Map([
        ["berth", [1]],
        ["dockerd", [2]],
      ]),
    },
    { more: true },
  );
  assert.equal(rate.slower, true);
});

test("without any peer there is no ratio", () => {
  const made = row({ berth: 10 });
  assert.deepEqual([made.best, made.ratio, made.slower], [undefined, Number.NaN, false]);
});

test("ratios read as shares below one and as multiples above", () => {
  assert.equal(times(1 / 7.25), "1/7.3");
  assert.equal(times(1 / 150), "1/150");
  assert.equal(times(12), "12×");
  assert.equal(times(1.06), "1.1×");
  assert.equal(times(Number.NaN), "-");
});
