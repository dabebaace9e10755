/** How long a stop waits for the end it has asked for. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Container } from "#engine/containers/container.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import { exitsWithin } from "#engine/containers/stop.ts";

test("a time longer than timers have is not cut to nothing", async () => {
  const container = new Container({ id: "a1", state: { Running: true } } as ContainerRecord);
  let ended: boolean | undefined;
  const waited = exitsWithin(container, 3e9).then((inTime) => {
    ended = inTime;
  });
  // Comes behind a timer of one millisecond, which is what setTimeout makes of one that is too long.
  await sleep(2);
  assert.equal(ended, undefined);
  for (const onExit of container.exitWaiters) onExit(0);
  await waited;
  assert.equal(ended, true);
});
