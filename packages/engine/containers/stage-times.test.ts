import assert from "node:assert/strict";
import { test } from "node:test";
import { StageTimes } from "#engine/containers/stage-times.ts";

test("stages come in order, each with the time since the one before", () => {
  const times = new StageTimes();
  times.mark("end", "of an operation that was not begun");
  assert.deepEqual(times.list(), []);
  times.begin("create", performance.now() - 600_000);
  times.mark("create", "row");
  times.mark("create", "layer");
  times.begin("start");
  times.mark("start", "compiled");
  const list = times.list();
  assert.deepEqual(
    list.map(({ operation, stage }) => `${operation} ${stage}`),
    ["create row", "create layer", "start compiled"],
  );
  const [row = Number.NaN, layer = Number.NaN] = list.map(({ milliseconds }) => milliseconds);
  assert.ok(row >= 599_999 && layer >= 0 && layer < row);
});

test("an operation that begins again is told anew", () => {
  const times = new StageTimes();
  times.begin("start");
  times.mark("start", "first");
  times.begin("start");
  times.mark("start", "second");
  assert.deepEqual(
    times.list().map(({ stage }) => stage),
    ["second"],
  );
});
