import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FIRST_POSITION, Listing, positionOf } from "#storage/union/listing.ts";

test("positions fit a directory offset and differ", () => {
  const positions = new Set<number>();
  for (let number = 0; number < 200_000; number++) {
    const at = positionOf(`file-${number}`);
    assert.ok(at >= FIRST_POSITION && Number.isSafeInteger(at));
    positions.add(at);
  }
  assert.equal(positions.size, 200_000);
});

test("who reads on from a position misses nothing that stays, whatever comes and goes", () => {
  const name = fc.string({ minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(
      fc.uniqueArray(name),
      fc.array(fc.tuple(fc.boolean(), name)),
      fc.nat(20),
      (kept, changes, piece) => {
        const listing = Listing.of(kept.map((one) => ({ name: one, type: 8, branch: 0, inode: 1 })));
        const staying = new Set(kept);
        const seen: string[] = [];
        let position = 0;
        const waiting = [...changes];
        for (;;) {
          const index = listing.after(position);
          const entries = Array.from({ length: piece + 1 }, (_, more) => listing.entry(index + more));
          for (const entry of entries) {
            if (entry === undefined) break;
            seen.push(entry.name);
            position = entry.at;
          }
          if (entries.at(-1) === undefined) break;
          const [add, changed] = waiting.shift() ?? [true, undefined];
          if (changed === undefined) continue;
          staying.delete(changed);
          if (add) listing.add(changed, 8, 0, 1);
          else listing.remove(changed);
        }
        for (const one of staying) assert.equal(seen.filter((other) => other === one).length, 1, one);
      },
    ),
    { numRuns: 500 },
  );
});
