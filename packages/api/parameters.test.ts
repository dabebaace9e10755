/**
 * Query parameters, filters, times, credentials, addresses: everything that is decoded without looking at the
 * engine.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { NetworkResource } from "#api-types/network.ts";
import { BerthError, isBerthError } from "#errors/errors.ts";
import { decodeFilters } from "./filters.ts";
import { isLoopback, parseHost } from "./host-address.ts";
import { filterNetworks } from "./networks.ts";
import { Query } from "./query.ts";
import { decodeRegistryAuth } from "./registry-auth.ts";
import { parseTime } from "./time-parameter.ts";

const invalid = (message: RegExp) => (error: unknown) =>
  isBerthError(error, "invalid") && message.test(error.message);

describe("query", () => {
  it("reads flags as Docker does", () => {
    for (const value of ["", "0", "no", "false", "none", "False", " NO "]) {
      assert.equal(new Query(`x=${encodeURIComponent(value)}`).flag("x", true), false, value);
    }
    for (const value of ["1", "true", "yes", "2", "anything"])
      assert.equal(new Query(`x=${value}`).flag("x"), true, value);
    assert.equal(new Query("x").flag("x", true), false);
    assert.equal(new Query("").flag("x", true), true);
    assert.equal(new Query("").flag("x"), false);
  });

  it("reads numbers and names the parameter that isn't one", () => {
    assert.equal(new Query("t=-1").integer("t"), -1);
    assert.equal(new Query("t=").integer("t"), undefined);
    for (const value of ["a", "1.5", "0x10", "1e3", "99999999999999999999"]) {
      assert.throws(() => new Query(`t=${value}`).integer("t"), invalid(/^invalid value ".*" for t/), value);
    }
    assert.throws(() => new Query("h=-1").count("h"), invalid(/for h/));
    assert.throws(() => new Query("").count("h"), invalid(/for h/));
  });
});

describe("filters", () => {
  it("come in two forms", () => {
    const expected = { label: ["a=b", "c"], status: ["running"] };
    assert.deepEqual(decodeFilters('{"label":{"a=b":true,"c":true},"status":{"running":true}}'), expected);
    assert.deepEqual(decodeFilters('{"label":["a=b","c"],"status":["running"]}'), expected);
    assert.deepEqual(decodeFilters(""), {});
    assert.deepEqual(decodeFilters("{}"), {});
    assert.deepEqual(decodeFilters("null"), {});
  });

  it("are refused in Docker's words otherwise", () => {
    for (const text of ["{", "[]", "1", '"a"', '{"a":"b"}', '{"a":[1]}', '{"a":{"b":"c"}}', '{"a":1}']) {
      assert.throws(() => decodeFilters(text), invalid(/^invalid filter$/), text);
    }
  });

  it("survive the way there and back in both forms", () => {
    const names = fc.dictionary(fc.string(), fc.uniqueArray(fc.string()));
    fc.assert(
      fc.property(names, (filters) => {
        assert.deepEqual(Object.entries(decodeFilters(JSON.stringify(filters))), Object.entries(filters));
        const older = Object.fromEntries(
          Object.entries(filters).map(([name, values]) => [
            name,
            Object.fromEntries(values.map((value) => [value, true])),
          ]),
        );
        for (const [name, values] of Object.entries(decodeFilters(JSON.stringify(older)))) {
          assert.deepEqual(new Set(values), new Set(filters[name]));
        }
      }),
    );
  });

  it("are decoded or refused, whatever they are", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          for (const values of Object.values(decodeFilters(text))) assert.ok(Array.isArray(values));
        } catch (error) {
          assert.ok(error instanceof BerthError);
        }
      }),
    );
  });
});

describe("times", () => {
  it("are seconds or RFC 3339", () => {
    assert.equal(parseTime("since", ""), undefined);
    assert.equal(parseTime("since", "0"), 0n);
    assert.equal(parseTime("since", "1700000000"), 1_700_000_000_000_000_000n);
    assert.equal(parseTime("since", "1700000000.000000001"), 1_700_000_000_000_000_001n);
    assert.equal(parseTime("since", "1700000000.5"), 1_700_000_000_500_000_000n);
    assert.equal(parseTime("since", "2023-11-14T22:13:20Z"), 1_700_000_000_000_000_000n);
    assert.equal(parseTime("since", "2023-11-14T23:13:20.123456789+01:00"), 1_700_000_000_123_456_789n);
    assert.equal(parseTime("since", "2023-11-14"), 1_699_920_000_000_000_000n);
    for (const text of ["yesterday", "10m", "1.1234567890", "2023-13-14", "1e5", "2023-11-14T25:00:00Z"]) {
      assert.throws(() => parseTime("until", text), invalid(/for until/), text);
    }
  });
});

describe("registry credentials", () => {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

  it("are JSON in base64url", () => {
    assert.deepEqual(decodeRegistryAuth(encode({ username: "ü?>", password: "p", other: 1 })), {
      username: "ü?>",
      password: "p",
    });
    assert.equal(decodeRegistryAuth(encode({})), undefined);
    for (const header of [undefined, "", "%%%", encode("x"), encode(null)])
      assert.equal(decodeRegistryAuth(header), undefined);
  });
});

describe("network filters", () => {
  const make = (Name: string, more: Partial<NetworkResource> = {}): NetworkResource =>
    ({
      Name,
      Id: `${Name}0123`,
      Driver: "bridge",
      Scope: "local",
      Labels: {},
      Containers: {},
      ...more,
    }) as NetworkResource;
  const all = [
    make("bridge"),
    make("host", { Driver: "host" }),
    make("app", { Labels: { owner: "me", plain: "" }, Containers: { a: {} as never } }),
    make("app2"),
  ];
  const names = (filters: Record<string, string[]>) => filterNetworks(all, filters).map(({ Name }) => Name);

  it("need each filter, by any of its values, but every label", () => {
    assert.deepEqual(names({}), ["bridge", "host", "app", "app2"]);
    assert.deepEqual(names({ name: ["app"] }), ["app", "app2"]);
    assert.deepEqual(names({ name: ["app", "host"], driver: ["bridge"] }), ["app", "app2"]);
    assert.deepEqual(names({ label: ["owner=me", "plain"] }), ["app"]);
    assert.deepEqual(names({ label: ["owner=you"] }), []);
    assert.deepEqual(names({ type: ["builtin"] }), ["bridge", "host"]);
    assert.deepEqual(names({ type: ["custom"] }), ["app", "app2"]);
    assert.deepEqual(names({ dangling: ["true"] }), ["app2"]);
    assert.throws(() => names({ colour: ["red"] }), invalid(/^invalid filter 'colour'$/));
    assert.throws(() => names({ type: ["odd"] }), invalid(/^invalid filter/));
  });
});

describe("addresses to listen on", () => {
  it("are unix, tcp or passed in", () => {
    assert.deepEqual(parseHost("unix:///run/x.sock", false), { kind: "unix", path: "/run/x.sock" });
    assert.deepEqual(parseHost("/run/x.sock", false), { kind: "unix", path: "/run/x.sock" });
    assert.deepEqual(parseHost("tcp://127.0.0.1", false), { kind: "tcp", host: "127.0.0.1", port: 2375 });
    assert.deepEqual(parseHost("tcp://127.0.0.1", true), { kind: "tcp", host: "127.0.0.1", port: 2376 });
    assert.deepEqual(parseHost("tcp://[::1]:80", false), { kind: "tcp", host: "::1", port: 80 });
    assert.deepEqual(parseHost("tcp://:99", false), { kind: "tcp", host: "::", port: 99 });
    assert.deepEqual(parseHost("localhost:99", false), { kind: "tcp", host: "localhost", port: 99 });
    assert.deepEqual(parseHost("fd://", false), { kind: "fd", which: undefined });
    assert.deepEqual(parseHost("fd://3", false), { kind: "fd", which: "3" });
    for (const text of ["npipe://x", "unix://relative", "tcp://a:b", "tcp://a:99999", "tcp://::1:80"]) {
      assert.throws(() => parseHost(text, false), invalid(/^invalid address to listen on/), text);
    }
    assert.deepEqual(["127.9.9.9", "::1", "localhost"].map(isLoopback), [true, true, true]);
    assert.deepEqual(["0.0.0.0", "::", "10.0.0.1", "127.evil.example"].map(isLoopback), [
      false,
      false,
      false,
      false,
    ]);
  });
});
