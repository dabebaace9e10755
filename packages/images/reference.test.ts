import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  canonicalText,
  familiarText,
  idPrefix,
  parseReference,
  tryParseReference,
  withDefaultTag,
} from "./reference.ts";

const digest = `sha256:${"a1".repeat(32)}`;

test("canonical and familiar forms", () => {
  const cases: [string, string, string][] = [
    ["busybox", "docker.io/library/busybox", "busybox"],
    ["busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"],
    ["docker.io/busybox", "docker.io/library/busybox", "busybox"],
    ["index.docker.io/library/busybox", "docker.io/library/busybox", "busybox"],
    ["berth/busybox", "docker.io/berth/busybox", "berth/busybox"],
    ["localhost/x", "localhost/x", "localhost/x"],
    ["localhost:5000/busybox:latest", "localhost:5000/busybox:latest", "localhost:5000/busybox:latest"],
    ["Upper/x", "Upper/x", "Upper/x"],
    ["[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"],
    [`ghcr.io/a/b:t@${digest}`, `ghcr.io/a/b:t@${digest}`, `ghcr.io/a/b:t@${digest}`],
    ["a/b-c_d.e__f", "docker.io/a/b-c_d.e__f", "a/b-c_d.e__f"],
  ];
  for (const [given, canonical, familiar] of cases) {
    const reference = parseReference(given);
    assert.equal(canonicalText(reference), canonical, given);
    assert.equal(familiarText(reference), familiar, given);
  }
});

test("what is no reference, in Docker's words", () => {
  const cases: [string, string][] = [
    ["", "invalid reference format"],
    ["busybox:", "invalid reference format"],
    ["busybox:-x", "invalid reference format"],
    [`busybox:${"x".repeat(129)}`, "invalid reference format"],
    ["a//b", "invalid reference format"],
    ["/a", "invalid reference format"],
    ["a/", "invalid reference format"],
    ["a..b", "invalid reference format"],
    ["-a", "invalid reference format"],
    ["a b", "invalid reference format"],
    ["http://x/y", "invalid reference format"],
    ["x@sha256:short", "invalid reference format"],
    ["BusyBox", "invalid reference format: repository name must be lowercase"],
    ["docker.io/BusyBox", "invalid reference format: repository name must be lowercase"],
    [`x@sha256:${"a".repeat(40)}`, "invalid checksum digest length"],
    [`x@md5:${"a".repeat(32)}`, "unsupported digest algorithm"],
    [
      "a".repeat(64),
      `invalid repository name (${"a".repeat(64)}), cannot specify 64-byte hexadecimal strings`,
    ],
    [`x.y/${"a/".repeat(127)}bc`, "repository name must not be more than 255 characters"],
  ];
  for (const [given, message] of cases) {
    assert.throws(() => parseReference(given), { code: "invalid", message }, given);
  }
});

test("only names without tag and digest get the default tag", () => {
  assert.equal(withDefaultTag(parseReference("x")).tag, "latest");
  assert.equal(withDefaultTag(parseReference("x:1")).tag, "1");
  assert.equal(withDefaultTag(parseReference(`x@${digest}`)).tag, undefined);
});

test("beginnings of ids", () => {
  assert.equal(idPrefix("abc"), "abc");
  assert.equal(idPrefix("sha256:abc"), "abc");
  assert.equal(idPrefix("busybox"), undefined);
  assert.equal(idPrefix(`${"a".repeat(65)}`), undefined);
});

const word = fc.stringMatching(/^[a-z0-9]{1,8}$/);
const component = fc
  .tuple(word, fc.array(fc.tuple(fc.constantFrom(".", "_", "__", "-", "---"), word), { maxLength: 2 }))
  .map(([first, rest]) => first + rest.map((pair) => pair.join("")).join(""));
const domain = fc.oneof(
  fc.constantFrom("docker.io", "localhost", "localhost:5000", "127.0.0.1:80", "[::1]:5000"),
  fc.tuple(word, word).map(([a, b]) => `${a}.${b}`),
);
const tag = fc.option(fc.stringMatching(/^\w[\w.-]{0,20}$/), { nil: undefined });
const hash = fc.option(
  fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => `sha256:${hex}`),
  { nil: undefined },
);

test("canonical form reads back as itself", () => {
  const path = fc.array(component, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(domain, path, tag, hash, (host, parts, label, sum) => {
      const text = `${host}/${parts.join("/")}${label === undefined ? "" : `:${label}`}${sum === undefined ? "" : `@${sum}`}`;
      const reference = parseReference(text);
      assert.deepEqual(parseReference(canonicalText(reference)), reference);
      assert.equal(reference.domain, host);
      assert.equal(reference.tag, label);
      assert.equal(reference.digest, sum);
    }),
  );
});

test("familiar form means the same image", () => {
  // A first part with a dot reads as a domain, in Docker as here; it cannot be shortened.
  const plain = fc.array(word, { minLength: 1, maxLength: 3 }).filter(([first]) => first !== "localhost");
  fc.assert(
    fc.property(
      fc.constantFrom("docker.io", "ghcr.io", "localhost:5000"),
      plain,
      tag,
      (host, parts, label) => {
        const reference = parseReference(
          `${host}/${parts.join("/")}${label === undefined ? "" : `:${label}`}`,
        );
        fc.pre(!/^[0-9a-f]{64}$/.test(familiarText(reference)));
        assert.deepEqual(parseReference(familiarText(reference)), reference);
      },
    ),
  );
});

test("no text makes the parser fail in another way than by its own error", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: "binary" })), (text) => {
      const reference = tryParseReference(text);
      if (reference !== undefined) assert.deepEqual(parseReference(canonicalText(reference)), reference);
      else assert.throws(() => parseReference(text), { name: "BerthError", code: "invalid" });
    }),
  );
});
