import assert from "node:assert/strict";
import { test } from "node:test";
import { Slots } from "#images/slots.ts";

test("more places let in who waits; fewer let nobody in until enough are given back", async () => {
  const slots = new Slots(1);
  const first = await slots.take();
  const order: string[] = [];
  const second = slots.take().then((place) => {
    order.push("second");
    return place;
  });
  const third = slots.take().then((place) => {
    order.push("third");
    return place;
  });
  slots.resize(2);
  const place = await second;
  assert.deepEqual(order, ["second"]);
  slots.resize(1);
  first[Symbol.dispose]();
  await Promise.resolve();
  assert.deepEqual(order, ["second"]);
  assert.equal(slots.full, true);
  place[Symbol.dispose]();
  (await third)[Symbol.dispose]();
  assert.equal(slots.full, false);
});
