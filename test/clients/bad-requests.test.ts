/** Requests that cannot be right, to Debian's dockerd and to Berth: status and text are the same, or known to be better. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { answeredApart, badRequests, wrongTypes } from "#test/parity/bad-requests.ts";
import { type ParityEngine, ParityEngines } from "#test/parity/engines.ts";
import { renewed } from "#test/parity/known-differences.ts";

describe("requests that are wrong", () => {
  let engines: ParityEngines;
  before(async () => {
    engines = await ParityEngines.start();
    for (const engine of [engines.dockerd, engines.berth]) await prepare(engine);
  });
  after(() => engines[Symbol.asyncDispose]());

  for (const [method, path, body] of badRequests) {
    const request = `${method} ${path}${body === undefined ? "" : ` ${JSON.stringify(body)}`}`;
    it(request.slice(0, 200), async () => {
      const theirs = await engines.dockerd.request(method, path, body);
      const ours = await engines.berth.request(method, path, body);
      const answer = `${ours.status} ${ours.message}`;
      // Whoever asks for what cannot be is at fault, not the engine.
      const status = theirs.status === 500 && ours.status === 400 ? 400 : theirs.status;
      const expected = `${status} ${renewed(theirs.message)}`;
      const apart = answeredApart.find(([pattern]) => pattern.test(request));
      if (apart === undefined) assert.equal(answer, expected);
      else {
        assert.match(answer, new RegExp(`^${apart[1]}$`));
        assert.notEqual(
          answer,
          `${theirs.status} ${theirs.message}`,
          "has become equal: take it off the list",
        );
      }
    });
  }

  for (const [path, body, field] of wrongTypes) {
    it(`${path} with ${field} of a wrong type: ${JSON.stringify(body)}`, async () => {
      const theirs = await engines.dockerd.request("POST", path, body);
      const ours = await engines.berth.request("POST", path, body);
      assert.ok(theirs.status >= 400);
      assert.equal(ours.status, 400);
      assert.ok(ours.message.startsWith(`invalid JSON: ${field}`), ours.message);
    });
  }

  it("a wait for a condition that doesn't exist is refused (dockerd waits)", async () => {
    const { status, message } = await engines.berth.request("POST", "/containers/busy/wait?condition=bogus");
    assert.equal(`${status} ${message}`, '400 invalid condition: "bogus"');
  });
});

async function prepare(engine: ParityEngine): Promise<void> {
  const image = { Image: "berth/busybox" };
  const made = [
    await engine.request("POST", "/volumes/create", { Name: "used" }),
    await engine.request("POST", "/containers/create?name=idle", {
      ...image,
      HostConfig: { Binds: ["used:/used"] },
    }),
    await engine.request("POST", "/containers/create?name=busy", { ...image, Cmd: ["sleep", "600"] }),
    await engine.request("POST", "/containers/busy/start"),
  ];
  assert.deepEqual(
    made.map(({ status }) => status),
    [201, 201, 201, 204],
  );
}
