import assert from "node:assert/strict";
import { test } from "node:test";
import { Served, type ServedOptions } from "./testing/served.ts";

interface Asked {
  plugin: string;
  method: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a plugin gets is looked at field by field.
  question: any;
}

/** Plugins that say what `decide` says, and remember what they were asked. */
function plugins(names: string[], decide: (asked: Asked) => Record<string, unknown> | Error) {
  const asked: Asked[] = [];
  const authorization: NonNullable<ServedOptions["authorization"]> = {
    names,
    ask: async (plugin, method, question) => {
      const entry = { plugin, method, question };
      asked.push(entry);
      const said = decide(entry);
      if (said instanceof Error) throw said;
      return said;
    },
  };
  return { asked, authorization };
}
const text = (base64: string) => Buffer.from(base64, "base64").toString();

test("plugins see request and answer in order, without what is nobody's business", async () => {
  const { asked, authorization } = plugins(["one", "two", "one"], () => ({ Allow: true }));
  await using served = await Served.start({ authorization });
  const { status, json } = await served.ask("POST", "/v1.44/containers/create?name=c1", {
    body: { Image: "busybox", Cmd: ["cat"] },
    headers: {
      "X-Registry-Auth": "secret",
      "x-registry-config": "secret",
      Authorization: "secret",
      "x-other": "1",
    },
  });
  assert.equal(status, 201);
  assert.deepEqual(
    asked.map(({ plugin, method }) => `${plugin} ${method}`),
    [
      "one AuthZPlugin.AuthZReq",
      "two AuthZPlugin.AuthZReq",
      "one AuthZPlugin.AuthZRes",
      "two AuthZPlugin.AuthZRes",
    ],
  );
  const { question } = asked[2] as Asked;
  assert.equal(question.RequestMethod, "POST");
  assert.equal(question.RequestUri, "/v1.44/containers/create?name=c1");
  assert.deepEqual(JSON.parse(text(question.RequestBody)), { Image: "busybox", Cmd: ["cat"] });
  assert.equal(question.RequestHeaders["X-Other"], "1");
  assert.equal(question.RequestHeaders["Content-Type"], "application/json");
  assert.ok(!JSON.stringify(asked).includes("secret"));
  assert.equal(question.ResponseStatusCode, 201);
  assert.equal(question.ResponseHeaders["Content-Type"], "application/json");
  assert.equal(JSON.parse(text(question.ResponseBody)).Id, json.Id);
  assert.ok(!("User" in question) && !("ResponseStatusCode" in (asked[0] as Asked).question));
});

test("the first that denies ends it; nothing has happened then", async () => {
  const { asked, authorization } = plugins(["yes", "no", "never"], ({ plugin }) =>
    plugin === "yes" ? { Allow: true } : { Allow: false, Msg: "not you" },
  );
  await using served = await Served.start({ authorization });
  const { status, json } = await served.ask("POST", "/containers/create", { body: { Image: "busybox" } });
  assert.equal(status, 403);
  assert.deepEqual(json, { message: "authorization denied by plugin no: not you" });
  assert.deepEqual(served.engine.calls, []);
  assert.deepEqual([...new Set(asked.map(({ plugin }) => plugin))], ["yes", "no"]);
});

test("an answer that is denied does not go out", async () => {
  const { authorization } = plugins(["p"], ({ method }) => ({
    Allow: method.endsWith("AuthZReq"),
    Msg: "secret",
  }));
  await using served = await Served.start({ authorization });
  const { status, json, text: body } = await served.ask("GET", "/version");
  assert.equal(status, 403);
  assert.equal(json.message, "authorization denied by plugin p: secret");
  assert.doesNotMatch(body, /ApiVersion/);
});

test("what is no clear yes is a no: failures, odd answers", async () => {
  for (const [said, status, message] of [
    [new Error('plugin "p" not found'), 500, 'plugin p failed with error: plugin "p" not found'],
    [{}, 403, "authorization denied by plugin p: "],
    [{ Allow: "true", Msg: 7 }, 403, "authorization denied by plugin p: "],
  ] as const) {
    const { authorization } = plugins(["p"], () => said);
    await using served = await Served.start({ authorization });
    const answer = await served.ask("GET", "/containers/json");
    assert.equal(answer.status, status);
    assert.equal(answer.json.message, message);
  }
});

test("no JSON reaches a handler unseen: however it is called, however long, of whatever length it says it is", async () => {
  const { asked, authorization } = plugins(["p"], ({ question }) => ({
    Allow: !text(question.RequestBody ?? "").includes("forbidden"),
  }));
  await using served = await Served.start({ authorization });
  const body = { Image: "forbidden", Env: ["x".repeat(2 * 1024 * 1024)] };
  for (const type of ["application/json", "application/json; charset=utf-8", "Application/JSON"]) {
    const headers = { "Content-Type": type };
    const whole = await served.ask("POST", "/containers/create", { body, headers });
    assert.equal(whole.status, 403, type);
    const raw = served.connect();
    raw.send(`POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: ${type}\r\nConnection: close\r\n`);
    raw.send(`Transfer-Encoding: chunked\r\n\r\n15\r\n{"Image":"forbidden"}\r\n0\r\n\r\n`);
    assert.match(await raw.end(), /^HTTP\/1\.1 403 /);
  }
  // What is no JSON is refused by the handler, what is too long before anybody is asked.
  const other = await served.ask("POST", "/containers/create", {
    body: '{"Image":"forbidden"}',
    headers: { "Content-Type": "text/plain" },
  });
  assert.equal(other.status, 400);
  const before = asked.length;
  const long = await served.ask("POST", "/containers/create", {
    body: { Image: "x".repeat(5 * 1024 * 1024) },
  });
  assert.equal(long.status, 413);
  assert.equal(asked.length, before);
  assert.ok(!served.engine.calls.some(([verb]) => verb === "create"));
});

test("streams and connections that are taken over are not held up", async () => {
  const { asked, authorization } = plugins(["p"], () => ({ Allow: true }));
  await using served = await Served.start({ authorization });
  const id = await served.createContainer(["cat"]);
  await served.ask("POST", `/containers/${id}/start`);
  asked.length = 0;
  const events = await served.open("GET", "/events");
  assert.equal(events.statusCode, 200);
  events.destroy();
  const raw = served.connect();
  raw.send(
    `POST /containers/${id}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
  );
  await raw.until("101 UPGRADED");
  raw.send("hello");
  await raw.until("hello");
  raw.socket.end();
  await raw.end();
  // An exec's options come as JSON in front of the stream.
  const { json } = await served.ask("POST", `/containers/${id}/exec`, {
    body: { Cmd: ["cat"], AttachStdin: true },
  });
  asked.length = 0;
  const exec = served.connect();
  exec.send(
    `POST /exec/${json.Id}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}input`,
  );
  exec.socket.end();
  assert.match(await exec.end(), /input$/);
  assert.equal(text((asked[0] as Asked).question.RequestBody), "{}");
  assert.ok(asked.every(({ method }) => method.endsWith("AuthZReq")));
});

test("a denied stream, and failures of handlers, are answers like any other", async () => {
  const { asked, authorization } = plugins(["p"], ({ question }) => ({
    Allow: !question.RequestUri.includes("/attach"),
  }));
  await using served = await Served.start({ authorization });
  const id = await served.createContainer(["cat"]);
  const raw = served.connect();
  raw.send(
    `POST /containers/${id}/attach?stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
  );
  assert.match(await raw.until("denied"), /^HTTP\/1\.1 403 /);
  raw.socket.end();
  const missing = await served.ask("GET", "/containers/none/json");
  assert.equal(missing.status, 404);
  assert.equal(asked.at(-1)?.question.ResponseStatusCode, 404);
  const again = await served.ask("HEAD", "/_ping");
  assert.equal(again.status, 200);
});

test("passwords are shown to nobody", async () => {
  const { asked, authorization } = plugins(["p"], () => ({ Allow: true }));
  await using served = await Served.start({ authorization });
  await served.ask("POST", "/auth", { body: { username: "u", password: "open sesame" } });
  assert.equal(asked.length, 2);
  assert.ok(asked.every(({ question }) => !("RequestBody" in question) && !("ResponseBody" in question)));
  const shown = Buffer.from("open sesame").toString("base64");
  assert.ok(!JSON.stringify([asked, served.log]).includes(shown));
});

test("plugins come and go with the list", async () => {
  const { authorization } = plugins([], () => ({ Allow: false, Msg: "no" }));
  await using served = await Served.start({ authorization });
  assert.equal((await served.ask("GET", "/_ping")).status, 200);
  (authorization.names as string[]).push("p");
  assert.equal((await served.ask("GET", "/_ping")).status, 403);
  (authorization.names as string[]).pop();
  assert.equal((await served.ask("GET", "/_ping")).status, 200);
});
