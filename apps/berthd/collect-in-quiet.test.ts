import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  collectInQuiet,
  FULL_MS,
  type Heap,
  OLD_WORTH,
  type Timer,
  YOUNG_MS,
  YOUNG_WORTH,
} from "./collect-in-quiet.ts";

/** A heap that says what was done with it, and when its full collection ends is the test's choice. */
class WatchedHeap implements Heap {
  done: string[] = [];
  youngBytes = YOUNG_WORTH;
  oldBytes = OLD_WORTH;
  work = 0;
  /** What a full collection leaves. */
  live = 0;
  quiet: (() => boolean) | undefined;
  end: (() => void) | undefined;

  young = () => this.youngBytes;
  old = () => this.oldBytes;
  busy = () => this.work;
  collectYoung = () => void this.done.push("young");
  collectFully = (quiet: () => boolean) => {
    this.done.push("full");
    this.quiet = quiet;
    return new Promise<void>((resolve) => {
      this.end = () => {
        this.oldBytes = this.live;
        resolve();
      };
    });
  };
}

/** Time that passes when it is told to; Node's own mocked timers do not begin anew after their end. */
class Clock {
  #now = 0;
  #timers: { at: number; action: () => void }[] = [];

  timer: Timer = (action, ms) => {
    const entry = { at: this.#now + ms, action };
    this.#timers.push(entry);
    const refresh = () => {
      entry.at = this.#now + ms;
    };
    return { refresh };
  };

  pass(ms: number): void {
    for (const end = this.#now + ms; this.#now < end; ) {
      this.#now++;
      for (const entry of this.#timers) {
        if (entry.at !== this.#now) continue;
        entry.at = 0;
        entry.action();
      }
    }
  }
}

/** The daemon's first moment: its heap, what tells of answered requests, and the time. */
function begin() {
  const heap = new WatchedHeap();
  const clock = new Clock();
  return { heap, answered: collectInQuiet(heap, clock.timer), pass: (ms: number) => clock.pass(ms) };
}

/** Until what waits for a collection's end has gone on. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

suite("collecting in quiet", () => {
  test("young objects go after a moment without a request, and not in between", () => {
    const { heap, answered, pass } = begin();
    for (let n = 0; n < 100; n++) {
      pass(YOUNG_MS - 1);
      answered();
    }
    assert.deepEqual(heap.done, []);
    pass(YOUNG_MS);
    assert.deepEqual(heap.done, ["young"]);
  });

  test("few young objects stay", () => {
    const { heap, answered, pass } = begin();
    heap.youngBytes = YOUNG_WORTH - 1;
    answered();
    pass(YOUNG_MS);
    assert.deepEqual(heap.done, []);
  });

  test("all go once, after a longer while; then nothing happens any more", async () => {
    const { heap, pass } = begin();
    pass(YOUNG_MS);
    pass(FULL_MS - 1);
    assert.deepEqual(heap.done, ["young"]);
    pass(1);
    assert.deepEqual(heap.done, ["young", "full"]);
    heap.end?.();
    await settled();
    pass(100 * FULL_MS);
    assert.deepEqual(heap.done, ["young", "full"]);
  });

  test("a request begins the longer while anew, also one just before its end", () => {
    const { heap, answered, pass } = begin();
    pass(YOUNG_MS);
    pass(FULL_MS - 1);
    answered();
    pass(1);
    assert.deepEqual(heap.done, ["young"]);
    pass(YOUNG_MS - 1);
    pass(FULL_MS - 1);
    assert.deepEqual(heap.done, ["young", "young"]);
    pass(1);
    assert.deepEqual(heap.done, ["young", "young", "full"]);
  });

  test("work without requests puts it off until that is done", () => {
    const { heap, pass } = begin();
    pass(YOUNG_MS);
    heap.work = 0.5;
    for (let n = 0; n < 5; n++) pass(FULL_MS);
    assert.deepEqual(heap.done, ["young"]);
    heap.work = 0;
    pass(FULL_MS);
    assert.deepEqual(heap.done, ["young", "full"]);
  });

  test("a full collection is worth what has come since the last", async () => {
    const { heap, answered, pass } = begin();
    heap.live = 20 * OLD_WORTH;
    const goBy = () => {
      answered();
      pass(YOUNG_MS);
      pass(FULL_MS);
    };
    goBy();
    heap.end?.();
    await settled();
    const full = () => heap.done.filter((what) => what === "full").length;
    assert.equal(full(), 1);
    heap.oldBytes = heap.live + OLD_WORTH - 1;
    goBy();
    assert.equal(full(), 1);
    heap.oldBytes++;
    goBy();
    assert.equal(full(), 2);
  });

  test("one under way hears of a request, and no second begins beside it", async () => {
    const { heap, answered, pass } = begin();
    pass(YOUNG_MS);
    pass(FULL_MS);
    assert.equal(heap.quiet?.(), true);
    answered();
    assert.equal(heap.quiet?.(), false);
    pass(YOUNG_MS);
    pass(FULL_MS);
    assert.deepEqual(heap.done, ["young", "full", "young"]);
    heap.end?.();
    await settled();
  });

  test("one that fails is no end of the daemon, nor of collecting", async () => {
    const { heap, answered, pass } = begin();
    heap.collectFully = async () => {
      heap.done.push("failed");
      throw new Error("no");
    };
    for (let n = 0; n < 2; n++) {
      answered();
      pass(YOUNG_MS);
      pass(FULL_MS);
      await settled();
    }
    assert.deepEqual(heap.done, ["young", "failed", "young", "failed"]);
  });

  test("without a heap that can be collected nothing is done", () => {
    collectInQuiet(undefined)();
  });
});
