import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { handlers } from "./handlers.ts";
import { allOperations, documentedOperations } from "./operations.ts";
import { createRouter } from "./router.ts";

const route = createRouter(allOperations);

describe("table of operations", () => {
  it("holds the documented ones, each once", () => {
    assert.equal(documentedOperations.length, 107);
    assert.equal(new Set(allOperations.map(({ id }) => id)).size, allOperations.length);
    assert.equal(
      new Set(allOperations.map(({ method, path }) => `${method} ${path}`)).size,
      allOperations.length,
    );
    for (const { method, path } of allOperations) {
      assert.match(method, /^(GET|HEAD|POST|PUT|DELETE)$/);
      assert.match(path, /^(\/(_?[a-z]+|\{[a-z]+\}))+$/);
    }
  });

  it("has an operation for every handler", () => {
    const ids = new Set(allOperations.map(({ id }) => id));
    assert.deepEqual(
      Object.keys(handlers).filter((id) => !ids.has(id)),
      [],
    );
  });
});

describe("route", () => {
  it("finds every operation by its own path, slashes in names included", () => {
    for (const name of ["x", "localhost:5000/team/app@sha256:00", "json", "get", "a/json/b", "create", "."]) {
      for (const operation of allOperations) {
        if (!operation.path.includes("{")) continue;
        const path = operation.path.replace("{checkpoint}", "c1").replace(/\{[a-z]+\}/, name);
        const match = route(operation.method, path);
        // A name that makes the path another operation's fixed one is that operation's.
        if (allOperations.some((other) => other.method === operation.method && other.path === path)) continue;
        assert.equal(match?.operation.id, operation.id, `${operation.method} ${path}`);
        assert.equal(Object.values(match.parameters)[0], name);
      }
    }
  });

  it("prefers fixed paths, and of the others the longer fixed part", () => {
    assert.equal(route("GET", "/containers/json")?.operation.id, "ContainerList");
    assert.deepEqual(route("GET", "/images/a/json/json")?.parameters, { name: "a/json" });
    assert.equal(route("GET", "/services/a/logs")?.operation.id, "ServiceLogs");
    assert.equal(route("GET", "/services/a")?.operation.id, "ServiceInspect");
    assert.deepEqual(route("DELETE", "/containers/a/checkpoints/b")?.parameters, {
      id: "a",
      checkpoint: "b",
    });
  });

  it("knows collections with a trailing slash, and nothing else", () => {
    assert.equal(route("GET", "/networks/")?.operation.id, "NetworkList");
    for (const [method, path] of [
      ["GET", "/"],
      ["GET", ""],
      ["GET", "/containers"],
      ["GET", "/containers//json"],
      ["DELETE", "/_ping"],
      ["PATCH", "/containers/x"],
      ["GET", "/container/x/json"],
      ["get", "/_ping"],
    ] as const) {
      assert.equal(route(method, path), undefined, `${method} ${path}`);
    }
  });

  it("never throws, and answers only what matches", () => {
    const anything = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.webPath(),
      fc.constantFrom(...allOperations.map(({ path }) => path)),
    );
    fc.assert(
      fc.property(fc.constantFrom("GET", "POST", "DELETE", "PUT", "HEAD", ""), anything, (method, path) => {
        const match = route(method, path);
        if (match === undefined) return;
        assert.equal(match.operation.method, method);
        for (const value of Object.values(match.parameters)) assert.ok(path.includes(value) && value !== "");
      }),
    );
  });
});
