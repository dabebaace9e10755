import assert from "node:assert/strict";
import { test } from "node:test";
import { parseOsRelease, readHostFacts } from "#kernel/host-facts.ts";

test("os-release values are unquoted", () => {
  assert.deepEqual(
    parseOsRelease(`# comment\nNAME="Debian \\"x\\""\nVERSION_ID=12\nID='debian'\n\nbroken line\n`),
    { NAME: 'Debian "x"', VERSION_ID: "12", ID: "debian" },
  );
});

test("facts of this host are plausible", () => {
  const facts = readHostFacts();
  assert.ok(facts.lastCapability >= 37);
  assert.match(facts.kernelRelease, /^\d+\.\d+/);
});
