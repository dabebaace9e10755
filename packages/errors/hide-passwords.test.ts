import assert from "node:assert/strict";
import { test } from "node:test";
import { hidePasswords } from "#errors/hide-passwords.ts";

for (const [text, hidden] of [
  ["nothing", "nothing"],
  ["http://host/a:b@c", "http://host/a:b@c"],
  ["http://me:secret@host/x", "http://me:xxxxx@host/x"],
  ["http://:secret@host", "http://:xxxxx@host"],
  [
    'Get "https://me:s:e@c@host:1/x": refused, Get "tcp://a:b@c"',
    'Get "https://me:xxxxx@host:1/x": refused, Get "tcp://a:xxxxx@c"',
  ],
  ["http://host:80/ and me@example.com", "http://host:80/ and me@example.com"],
] as const) {
  test(text, () => assert.equal(hidePasswords(text), hidden));
}
