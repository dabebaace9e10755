import assert from "node:assert/strict";
import { test } from "node:test";
import type { Case, Rig } from "./case-types.ts";
import { interleave, measureCase, reasonOf, rotated } from "./measure.ts";
import type { Peer } from "./peers/peer-types.ts";

const peer = (name: string) => ({ name }) as Peer;
const rig = {} as Rig;

test("each round begins with another contestant", () => {
  assert.deepEqual(
    [0, 1, 2, 3].map((round) => rotated(["a", "b", "c"], round).join("")),
    ["abc", "bca", "cab", "abc"],
  );
  assert.deepEqual(rotated([], 1), []);
});

test("who fails is left out from then on, with its reason and without its figures", async () => {
  let runs = 0;
  const fails = {
    name: "podman",
    run: async () => {
      if (++runs === 2) throw new Error("no room\nat all");
      return 1;
    },
  };
  const other = { name: "berth", run: async () => 2 };
  const { values, missing } = await interleave([other, fails], 4, 0);
  assert.deepEqual([...values], [["berth", [2, 2, 2, 2]]]);
  assert.deepEqual(missing, { podman: "no room" });
  assert.equal(runs, 2);
});

test("a case is made ready on each peer that can do it, and undone whatever happens", async () => {
  const told: string[] = [];
  const bench: Case = {
    name: "a case",
    unit: "ms",
    runs: 2,
    without: { dockerd: "cannot" },
    prepare: async ({ name }) => {
      told.push(`ready ${name}`);
      return async () => told.push(`undone ${name}`);
    },
    measure: async ({ name }) => (name === "berth" ? 1 : Promise.reject(new Error("broken"))),
    floor: async () => 0.5,
  };
  const row = await measureCase("s", bench, [peer("berth"), peer("dockerd"), peer("podman")], rig, 0);
  assert.deepEqual(told, ["ready berth", "ready podman", "undone berth", "undone podman"]);
  assert.deepEqual(row.missing, { dockerd: "cannot", podman: "broken" });
  assert.deepEqual(Object.keys(row.figures), ["berth", "floor"]);
});

test("of a command line's failure what it printed is told", () => {
  const error = new Error("Command failed: podman run x\ntime=… level=warning\nError: no such image\n");
  assert.equal(reasonOf(error), "Error: no such image");
  assert.equal(reasonOf("words"), "words");
});
