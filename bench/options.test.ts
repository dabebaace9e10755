import assert from "node:assert/strict";
import { test } from "node:test";
import { GROUPS } from "./groups.ts";
import { type Options, PARTS, parseOptions } from "./options.ts";

test("without parts all of them, and nothing is installed", () => {
  assert.deepEqual(parseOptions([]), { parts: new Set(PARTS), installPeers: false, withoutPeers: false });
});

test("parts and the flag in any order", () => {
  assert.deepEqual(parseOptions(["logs", "--install-peers", "images"]), {
    parts: new Set(["logs", "images"]),
    installPeers: true,
    withoutPeers: false,
  });
  assert.equal((parseOptions(["--without-peers"]) as Options).withoutPeers, true);
});

test("what is not known is said", () => {
  assert.match(
    String(parseOptions(["log", "--install"])),
    /^--install, log: give --install-peers, --without-peers, or some of daemons/,
  );
});

test("every group of cases can be asked for", () => {
  const parts: readonly string[] = PARTS;
  for (const group of GROUPS.flat()) assert.ok(parts.includes(group.part), group.part);
});

test("no two cases of a section have one name, and a budget of what should be more is no fraction", () => {
  for (const { title, cases } of GROUPS.flat()) {
    assert.equal(new Set(cases.map(({ name }) => name)).size, cases.length, title);
    for (const { name, more, budget } of cases)
      if (more && budget !== undefined) assert.ok(budget > 0.9, name);
  }
});
