import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { atLeast, compareVersions, negotiate, splitVersion } from "./versions.ts";

const refusal = (requested: string): string => {
  try {
    negotiate(requested);
  } catch (error) {
    assert.ok(isBerthError(error, "invalid"));
    return error.message;
  }
  return "accepted";
};

describe("API versions", () => {
  it("are split off the path", () => {
    assert.deepEqual(splitVersion("/v1.41/containers/json"), { version: "1.41", path: "/containers/json" });
    assert.deepEqual(splitVersion("/containers/json"), { version: undefined, path: "/containers/json" });
    assert.deepEqual(splitVersion("/version"), { version: undefined, path: "/version" });
    assert.deepEqual(splitVersion("/v1.41"), { version: undefined, path: "/v1.41" });
    assert.deepEqual(splitVersion("/volumes/v1.2/x"), { version: undefined, path: "/volumes/v1.2/x" });
  });

  it("are refused outside what is spoken, in Docker's words", () => {
    assert.equal(refusal("1.24"), "accepted");
    assert.equal(refusal("1.51"), "accepted");
    assert.equal(refusal("1.99"), "client version 1.99 is too new. Maximum supported API version is 1.51");
    assert.equal(
      refusal("1.23"),
      "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
    );
    assert.match(refusal("2"), /too new/);
    assert.match(refusal("1.5"), /too old/);
  });

  it("compare part by part", () => {
    assert.ok(compareVersions("1.9", "1.10") < 0);
    assert.equal(compareVersions("1.40", "1.40.0"), 0);
    assert.ok(atLeast(negotiate("1.42"), "1.42"));
    assert.ok(!atLeast(negotiate("1.41"), "1.42"));
    assert.ok(atLeast(negotiate(undefined), "1.51"));
  });
});
