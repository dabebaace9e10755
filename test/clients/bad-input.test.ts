/** Input that cannot be right: a clear error, nothing left behind. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 5 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

const layers = () => readdirSync(`${daemon.dataRoot}/overlay2`).length;

test("an unknown image: 404 in Docker's words", async () => {
  const { status, body } = await daemon.api("POST", "/containers/create", { Image: "no-such-image" });
  assert.equal(status, 404);
  assert.match(JSON.parse(body).message, /No such image: no-such-image:latest/);
});

test("a name that is taken: 409, and nothing made", async () => {
  daemon.docker("create", "--name", "one", IMAGE);
  const earlier = layers();
  const { status, body } = await daemon.api("POST", "/containers/create?name=one", { Image: IMAGE });
  assert.equal(status, 409);
  assert.match(
    JSON.parse(body).message,
    /^Conflict\. The container name "\/one" is already in use by container/,
  );
  assert.equal(layers(), earlier);
  daemon.docker("rm", "one");
});

test("a body that is no JSON, or of the wrong shape: 400", async () => {
  const raw = (body: string) =>
    new Promise<string>((done) => {
      const socket = connect(daemon.socket);
      let answer = "";
      socket.on("data", (chunk) => {
        answer += chunk;
      });
      socket.on("close", () => done(answer));
      socket.end(
        `POST /containers/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
    });
  assert.match(await raw("{not json"), /^HTTP\/1.1 400 [\s\S]*message/);
  assert.match(await raw('{"Image": 5}'), /^HTTP\/1.1 400 [\s\S]*Image/);
});

test("a body of 100 MB is refused without being kept", async () => {
  const answer = await new Promise<string>((done) => {
    const socket = connect(daemon.socket);
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk;
      // The answer comes before the body has been sent, or the connection may be used again after it.
      if (text.includes("\r\n\r\n")) socket.destroy();
    });
    for (const event of ["error", "end", "close"]) {
      socket.on(event, () => {
        socket.destroy();
        done(text);
      });
    }
    socket.write(
      `POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${100 << 20}\r\n\r\n`,
    );
    const chunk = Buffer.alloc(1 << 20, 32);
    for (let sent = 0; sent < 100 && !socket.destroyed; sent++) socket.write(chunk);
  });
  assert.match(answer, /^HTTP\/1.1 4\d\d /);
  assert.ok(await daemon.ping());
});

test("an endpoint that is not there yet answers 501 with its name, an unknown path 404", async () => {
  const build = await daemon.api("POST", "/v1.47/build");
  assert.equal(build.status, 501);
  assert.match(JSON.parse(build.body).message, /ImageBuild/);
  assert.equal((await daemon.api("GET", "/v1.47/no/such/path")).status, 404);
});

test("API versions outside the range are refused with the range", async () => {
  const tooNew = await daemon.api("GET", "/v9.99/version");
  assert.equal(tooNew.status, 400);
  assert.match(JSON.parse(tooNew.body).message, /client version 9\.99 is too new/);
  assert.match((await daemon.api("GET", "/v1.0/version")).body, /too old/);
});

test("bind sources and mounts that cannot be", () => {
  const missing = daemon.docker("run", "--rm", "--mount", "type=bind,src=/no/such/dir,dst=/x", IMAGE, "true");
  assert.equal(missing.code, 125);
  assert.match(missing.stderr, /bind source path does not exist: \/no\/such\/dir/);
  const relative = daemon.docker("run", "--rm", "-v", "vol:relative", IMAGE, "true");
  assert.equal(relative.code, 125);
  assert.match(relative.stderr, /mount path must be absolute/);
});

test("operations on what isn't there, or isn't running", () => {
  for (const args of [["start"], ["stop"], ["rm"], ["logs"], ["inspect"], ["kill"], ["wait"]]) {
    const ran = daemon.docker(...args, "nobody");
    assert.equal(ran.code, 1, args.join(" "));
    assert.match(ran.stderr, /No such (container|object): nobody/);
  }
  daemon.docker("create", "--name", "idle", IMAGE);
  assert.match(daemon.docker("kill", "idle").stderr, /is not running/);
  assert.match(daemon.docker("exec", "idle", "true").stderr, /is not running/);
  assert.equal(daemon.docker("rm", "idle").code, 0);
});

test("a running container is not removed without force", () => {
  daemon.docker("run", "-d", "--name", "busy", IMAGE, "sleep", "1000");
  const ran = daemon.docker("rm", "busy");
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /container is running: stop the container before removing or force remove/);
  daemon.docker("rm", "-f", "busy");
});
