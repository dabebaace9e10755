import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SharedWork } from "./shared-work.ts";
import { Slots } from "./slots.ts";

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test("who joins later hears the latest progress and gets the same result", async () => {
  const shared = new SharedWork<number, string>();
  const { promise, resolve } = Promise.withResolvers<string>();
  let runs = 0;
  const work = async (report: (progress: number) => void) => {
    runs++;
    report(1);
    report(2);
    return promise;
  };
  const heard: number[][] = [[], []];
  const first = shared.join("k", work, { report: (progress) => heard[0]?.push(progress) });
  await turn();
  const second = shared.join("k", work, { report: (progress) => heard[1]?.push(progress) });
  resolve("done");
  assert.deepEqual(await Promise.all([first, second]), ["done", "done"]);
  assert.equal(runs, 1);
  assert.deepEqual(heard, [[1, 2], [2]]);
});

test("work is cancelled exactly when the last joiner leaves, and can begin anew only after it ended", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 6 }), async (leaves) => {
      const shared = new SharedWork<never, string>();
      const end = Promise.withResolvers<string>();
      let active = 0;
      let cancelled = false;
      const work = async (_: unknown, signal: AbortSignal) => {
        assert.equal(++active, 1);
        signal.addEventListener("abort", () => {
          cancelled = true;
          end.reject(signal.reason);
        });
        return end.promise.finally(() => active--);
      };
      const joiners = leaves.map((leave) => ({ leave, controller: new AbortController() }));
      const results = joiners.map(({ controller }) =>
        shared.join("k", work, { report: () => {}, signal: controller.signal }).catch(() => "left"),
      );
      await turn();
      for (const { leave, controller } of joiners) if (leave) controller.abort(new Error("left"));
      await turn();
      const everybodyLeft = leaves.every(Boolean);
      assert.equal(cancelled, everybodyLeft);
      if (everybodyLeft) {
        const again = await shared.join("k", async () => `anew ${active}`, { report: () => {} });
        assert.equal(again, "anew 0");
      }
      end.resolve("done");
      assert.deepEqual(
        await Promise.all(results),
        leaves.map((leave) => (leave ? "left" : "done")),
      );
    }),
    { numRuns: 50 },
  );
});

test("a failure reaches every joiner and is not kept", async () => {
  const shared = new SharedWork<never, string>();
  const fail = async () => {
    throw new Error("no");
  };
  const joins = [1, 2].map(() => shared.join("k", fail, { report: () => {} }));
  for (const join of joins) await assert.rejects(join, /no/);
  assert.equal(await shared.join("k", async () => "yes", { report: () => {} }), "yes");
});

test("never more in the slots than there are, and none is lost", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.array(fc.record({ abort: fc.boolean(), turns: fc.integer({ min: 0, max: 3 }) }), { maxLength: 12 }),
      async (count, clients) => {
        const slots = new Slots(count);
        let inside = 0;
        await Promise.all(
          clients.map(async ({ abort, turns }) => {
            const controller = new AbortController();
            const work = (async () => {
              using _slot = await slots.take(controller.signal);
              assert.ok(++inside <= count);
              for (let index = 0; index < turns; index++) await turn();
              inside--;
            })();
            if (abort) controller.abort(new Error("left"));
            await work.catch((error: Error) => assert.equal(error.message, "left"));
          }),
        );
        const all = await Promise.all(Array.from({ length: count }, () => slots.take()));
        assert.equal(slots.full, true);
        for (const slot of all) slot[Symbol.dispose]();
      },
    ),
    { numRuns: 50 },
  );
});
