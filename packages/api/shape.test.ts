import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { BerthError, isBerthError } from "#errors/errors.ts";
import { containerCreateShape } from "./container-shapes.ts";

const read = (body: unknown) => containerCreateShape.read(body, "");
const message = (body: unknown): string => {
  try {
    read(body);
  } catch (error) {
    assert.ok(isBerthError(error, "invalid"));
    return error.message;
  }
  return "accepted";
};

describe("shape of a create body", () => {
  it("names the field that is wrong", () => {
    assert.equal(message({ Hostname: 5 }), "invalid JSON: Hostname must be a string, not a number");
    assert.equal(
      message({ HostConfig: { Binds: ["a", 1] } }),
      "invalid JSON: HostConfig.Binds[1] must be a string, not a number",
    );
    assert.equal(
      message({ HostConfig: { PortBindings: { "80/tcp": [{ HostPort: 80 }] } } }),
      'invalid JSON: HostConfig.PortBindings["80/tcp"][0].HostPort must be a string, not a number',
    );
    assert.equal(
      message({ HostConfig: { Memory: 1.5 } }),
      "invalid JSON: HostConfig.Memory must be a whole number, not 1.5",
    );
    assert.equal(message({ HostConfig: [] }), "invalid JSON: HostConfig must be an object, not a list");
    assert.equal(message([]), "invalid JSON: the body must be an object, not a list");
    assert.equal(message({ Tty: "true" }), "invalid JSON: Tty must be true or false, not a string");
  });

  it("takes a string for a command, names in any case, and null for nothing", () => {
    assert.deepEqual(
      read({ image: "x", CMD: "echo", Entrypoint: null, Hostname: null, Tty: null, Unknown: 1 }),
      {
        Image: "x",
        Cmd: ["echo"],
        Entrypoint: null,
      },
    );
    assert.deepEqual(
      read({ ExposedPorts: { "80/tcp": null }, NetworkingConfig: { EndpointsConfig: { mine: null } } }),
      {
        ExposedPorts: { "80/tcp": {} },
        NetworkingConfig: { EndpointsConfig: { mine: {} } },
      },
    );
    assert.deepEqual(read({ Env: ["A=b", null] }), { Env: ["A=b", ""] });
  });

  it("keeps odd keys of maps as they are", () => {
    const labels = read(JSON.parse('{"Labels":{"__proto__":"x","constructor":"y"}}')).Labels;
    assert.deepEqual(Object.entries(labels ?? {}), [
      ["__proto__", "x"],
      ["constructor", "y"],
    ]);
  });

  it("reads or refuses whatever is JSON", () => {
    const fields = [
      "HostConfig",
      "Labels",
      "Env",
      "Image",
      "NetworkingConfig",
      "Healthcheck",
      "ExposedPorts",
      "__proto__",
    ];
    const body = fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom(...fields), fc.jsonValue()));
    fc.assert(
      fc.property(body, (value) => {
        try {
          assert.equal(typeof read(value), "object");
        } catch (error) {
          assert.ok(error instanceof BerthError, String(error));
        }
      }),
    );
  });
});
