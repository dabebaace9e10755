import assert from "node:assert/strict";
import { test } from "node:test";
import { EventBus } from "#engine/events/event-bus.ts";
import { nowNanoseconds } from "#engine/timestamps.ts";

async function collect(
  bus: EventBus,
  options: Partial<Parameters<EventBus["subscribe"]>[0]>,
  signal: AbortSignal,
) {
  const actions: string[] = [];
  for await (const event of bus.subscribe({ filters: {}, signal, ...options })) actions.push(event.Action);
  return actions;
}

test("a subscriber sees what comes, filtered, until it goes", async () => {
  const bus = new EventBus();
  const controller = new AbortController();
  const seen = collect(bus, { filters: { type: ["container"] } }, controller.signal);
  await new Promise((resolve) => setImmediate(resolve));
  bus.publish("container", "create", "c", { image: "i" });
  bus.publish("image", "pull", "i", {});
  bus.publish("container", "start", "c", {});
  await new Promise((resolve) => setImmediate(resolve));
  controller.abort();
  assert.deepEqual(await seen, ["create", "start"]);
});

test("since gives the past, until ends it", async () => {
  const bus = new EventBus();
  bus.publish("container", "old", "c", {});
  const until = nowNanoseconds() + 20_000_000n;
  const seen = await collect(bus, { since: 0n, until }, new AbortController().signal);
  assert.deepEqual(seen, ["old"]);
});

test("until alone gives the whole past before it; an event's own time is inside both bounds", async () => {
  const bus = new EventBus();
  for (const action of ["first", "second"]) bus.publish("container", action, "c", {});
  const { signal } = new AbortController();
  assert.deepEqual(await collect(bus, { until: nowNanoseconds() }, signal), ["first", "second"]);
  const all = bus.subscribe({ filters: {}, signal, since: 0n, until: nowNanoseconds() });
  for await (const event of all) {
    const time = BigInt(event.timeNano);
    assert.ok((await collect(bus, { since: time, until: time }, signal)).includes(event.Action));
  }
});

test("the last 256 events are kept", async () => {
  const bus = new EventBus();
  for (let n = 0; n < 300; n++) bus.publish("container", String(n), "c", {});
  const seen = await collect(bus, { since: 0n, until: nowNanoseconds() }, new AbortController().signal);
  assert.deepEqual([seen.length, seen[0], seen.at(-1)], [256, "44", "299"]);
});

test("a subscriber that never reads is ended, the others are not", async () => {
  const bus = new EventBus();
  const slow = bus.subscribe({ filters: {}, signal: new AbortController().signal })[Symbol.asyncIterator]();
  const first = slow.next();
  for (let n = 0; n < 5000; n++) bus.publish("container", String(n), "c", {});
  assert.equal((await first).value.Action, "0");
  let count = 1;
  while (!(await slow.next()).done) count++;
  assert.ok(count <= 4097, `${count} events were kept for it`);
});
