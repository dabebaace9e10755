import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Served } from "./testing/served.ts";

describe("checkpoints", () => {
  it("are listed, made and removed, by name and directory", async () => {
    await using served = await Served.start({ experimental: true });
    const { json } = await served.ask("GET", "/containers/a/checkpoints?dir=/d");
    assert.deepEqual(json, [{ Name: "one" }]);
    const body = { CheckpointID: "one", Exit: true };
    assert.equal((await served.ask("POST", "/containers/a/checkpoints", { body })).status, 201);
    assert.equal((await served.ask("DELETE", "/containers/a/checkpoints/one?dir=/d")).status, 204);
    assert.deepEqual(served.engine.calls, [
      ["list checkpoints", "a", "/d"],
      ["create checkpoint", "a", body],
      ["remove checkpoint", "a", { name: "one", directory: "/d" }],
    ]);
  });

  it("are off where the daemon is not experimental", async () => {
    await using served = await Served.start();
    const listed = await served.ask("GET", "/containers/a/checkpoints");
    assert.equal(listed.status, 501);
    assert.match(listed.json.message, /^This experimental feature is disabled by default/);
    const id = await served.createContainer(["cat"]);
    const started = await served.ask("POST", `/containers/${id}/start?checkpoint=one`);
    assert.equal(started.status, 400);
    assert.equal(started.json.message, "checkpoint is only supported in experimental mode");
  });
});
