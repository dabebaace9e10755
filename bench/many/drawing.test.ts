import assert from "node:assert/strict";
import { test } from "node:test";
import { smoothed, svgOf, textOf } from "./drawing.ts";

test("a curve goes through the medians", () => {
  assert.deepEqual(smoothed([1, 9, 2, 5, 4], 3), [
    [1.5, 2],
    [4, 5],
  ]);
});

test("points are where they belong, in both drawings", () => {
  const points = [
    [0, 0],
    [500, 50],
    [1000, 100],
  ] as const;
  const chart = { title: "a < b", unit: "ms", curves: [{ name: "one", points }] };
  const [title, top, ...rows] = textOf(chart);
  assert.equal(title, "a < b, ms");
  assert.match(top ?? "", /^ +120 \|/);
  // From the lower left to the upper right.
  const columns = rows.slice(0, 9).flatMap((row) => (row.includes("a") ? [row.indexOf("a")] : []));
  assert.equal(columns.length, 3);
  assert.deepEqual(
    columns.toSorted((one, other) => other - one),
    columns,
  );
  const svg = svgOf([chart]);
  assert.match(svg, /a &lt; b, ms/);
  assert.match(svg, /<path d="M64 226L317 [\d.]+L570 [\d.]+" fill="none"/);
});

test("what is far above all others stays in the picture", () => {
  const dots = [[500, 10_000]] as const;
  const svg = svgOf([
    {
      title: "t",
      unit: "ms",
      curves: [
        {
          name: "n",
          points: [
            [0, 1],
            [1000, 1],
          ],
          dots,
        },
      ],
    },
  ]);
  assert.match(svg, /<path d="M317 34h1"/);
});
