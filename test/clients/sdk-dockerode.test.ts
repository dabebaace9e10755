/** npm's dockerode runs its ordinary programs: containers, hijacked streams, execs, logs, archives, events. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import type { Duplex, Readable } from "node:stream";
import { PassThrough } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { after, afterEach, before, test } from "node:test";
import Docker from "dockerode";
import { buildTar } from "#images/archive-build.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox:latest";

let daemon: TestDaemon;
let docker: Docker;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 93 });
  daemon.loadBusybox();
  docker = new Docker({ socketPath: daemon.socket });
});
afterEach(() => {
  const ids = daemon.docker("ps", "-aq").stdout.split("\n").filter(Boolean);
  if (ids.length > 0) daemon.docker("rm", "-f", "-v", ...ids);
});
after(() => daemon.stop());

/** Both streams of a multiplexed connection, to its end. */
async function apart(stream: NodeJS.ReadableStream): Promise<{ stdout: string; stderr: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, stdout, stderr);
  stream.on("end", () => {
    stdout.end();
    stderr.end();
  });
  const [out, err] = await Promise.all([text(stdout), text(stderr)]);
  return { stdout: out, stderr: err };
}

const sleeper = async (options: Partial<Docker.ContainerCreateOptions> = {}) => {
  const container = await docker.createContainer({ Image: IMAGE, Cmd: ["sleep", "1000"], ...options });
  await container.start();
  return container;
};

test("run: output, exit code, the container afterwards", async () => {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const texts = Promise.all([text(stdout), text(stderr)]);
  const [ended, container] = await docker.run(
    IMAGE,
    ["sh", "-c", "echo out; echo err >&2; exit 3"],
    [stdout, stderr],
    { Tty: false },
  );
  stdout.end();
  stderr.end();
  assert.deepEqual(await texts, ["out\n", "err\n"]);
  assert.deepEqual(ended, { StatusCode: 3 });
  assert.equal((await container.inspect()).State.ExitCode, 3);
  await container.remove();
  await assert.rejects(container.inspect(), { statusCode: 404, reason: "no such container" });
});

test("run that fails: the status and reason of Docker", async () => {
  await assert.rejects(docker.createContainer({ Image: "no/such" }), {
    statusCode: 404,
    json: { message: "No such image: no/such:latest" },
  });
  const container = await docker.createContainer({ Image: IMAGE, Cmd: ["no-such-command"] });
  await assert.rejects(container.start(), {
    statusCode: 400,
    message: /executable file not found in \$PATH/,
  });
  await assert.rejects(docker.createContainer({ Image: IMAGE, name: "a/b" }), {
    statusCode: 400,
    message: /Invalid container name \(a\/b\)/,
  });
});

test("create, inspect, list, rename, update, top, changes", async () => {
  const container = await docker.createContainer({
    name: "inspected",
    Image: IMAGE,
    Cmd: ["sh", "-c", "touch /new; sleep 1000"],
    Env: ["A=b"],
    Labels: { "made.by": "dockerode" },
    ExposedPorts: { "80/tcp": {} },
    HostConfig: {
      Memory: 64 << 20,
      Binds: ["dockerode-data:/data"],
      PortBindings: { "80/tcp": [{ HostPort: "0" }] },
    },
  });
  await container.start();
  const seen = await container.inspect();
  assert.equal(seen.Name, "/inspected");
  assert.equal(seen.State.Status, "running");
  assert.ok(seen.State.Pid > 0);
  assert.deepEqual(seen.Config.Env.includes("A=b"), true);
  assert.equal(seen.HostConfig.Memory, 64 << 20);
  assert.equal(seen.Mounts[0]?.Name, "dockerode-data");
  assert.match(seen.NetworkSettings.Ports["80/tcp"]?.[0]?.HostPort ?? "", /^\d+$/);
  assert.match(seen.NetworkSettings.Networks.bridge?.IPAddress ?? "", /^10\.213\./);
  const [listed] = await docker.listContainers({ filters: { label: ["made.by=dockerode"] } });
  assert.equal(listed?.Id, container.id);
  assert.deepEqual(listed?.Names, ["/inspected"]);
  assert.equal(listed?.Ports.find(({ PrivatePort }) => PrivatePort === 80)?.Type, "tcp");
  assert.equal(listed?.Mounts[0]?.Destination, "/data");
  await container.rename({ name: "renamed" });
  assert.equal((await docker.getContainer("renamed").inspect()).Id, container.id);
  await container.update({ Memory: 32 << 20, MemorySwap: 32 << 20 });
  assert.equal((await container.inspect()).HostConfig.Memory, 32 << 20);
  const top = await container.top({ ps_args: "-o pid,args" });
  assert.deepEqual(top.Titles, ["PID", "COMMAND"]);
  await eventually(async () => {
    const changes: { Path: string; Kind: number }[] = await container.changes();
    assert.deepEqual(changes.find(({ Path }) => Path === "/new")?.Kind, 1);
  });
  await container.pause();
  assert.equal((await container.inspect()).State.Paused, true);
  await container.unpause();
  await container.stop({ t: 0 });
  await assert.rejects(container.stop(), { statusCode: 304 });
  await container.start();
  await assert.rejects(container.start(), { statusCode: 304 });
  await container.restart({ t: 0 });
  await assert.rejects(container.remove(), { statusCode: 409 });
  await container.kill();
  assert.deepEqual(await container.wait(), { StatusCode: 137 });
  await container.remove({ v: true });
  await docker.getVolume("dockerode-data").remove();
});

test("attach before start: input goes in, output comes out, its end ends the stream", async () => {
  const container = await docker.createContainer({
    Image: IMAGE,
    Cmd: ["sh", "-c", "cat; echo done >&2"],
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
  });
  const stream = await container.attach({
    stream: true,
    hijack: true,
    stdin: true,
    stdout: true,
    stderr: true,
  });
  const output = apart(stream);
  await container.start();
  stream.write("one\n");
  stream.end("two\n");
  assert.deepEqual(await output, { stdout: "one\ntwo\n", stderr: "done\n" });
  assert.deepEqual(await container.wait(), { StatusCode: 0 });
});

test("attach to a terminal: raw, resized, ended by the shell", async () => {
  const container = await docker.createContainer({ Image: IMAGE, Cmd: ["sh"], Tty: true, OpenStdin: true });
  const stream = await container.attach({
    stream: true,
    hijack: true,
    stdin: true,
    stdout: true,
    stderr: true,
  });
  await container.start();
  await container.resize({ w: 99, h: 44 });
  stream.write("stty size; exit 6\n");
  assert.match(await text(stream), /^44 99\r$/m);
  assert.deepEqual(await container.wait(), { StatusCode: 6 });
});

test("logs: as a whole, the tail, and followed while they come", async () => {
  const container = await sleeper({
    Cmd: ["sh", "-c", "echo 1; echo 2 >&2; read line; echo $line"],
    OpenStdin: true,
  });
  await eventually(async () => {
    const whole = await container.logs({ stdout: true, stderr: true });
    assert.equal(whole.length, 20);
  });
  const tail = await container.logs({ stdout: true, stderr: true, tail: 1 });
  assert.equal(tail.subarray(8).toString(), "2\n");
  const stream = await container.logs({ stdout: true, stderr: true, follow: true });
  const output = apart(stream);
  const input = await container.attach({ stream: true, hijack: true, stdin: true });
  input.write("the end\n");
  assert.deepEqual(await output, { stdout: "1\nthe end\n", stderr: "2\n" });
  input.end();
});

test("exec: output, input, exit code", async () => {
  const container = await sleeper();
  const exec = await container.exec({
    Cmd: ["sh", "-c", "cat; echo $A >&2; pwd; exit 5"],
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    Env: ["A=environment"],
    WorkingDir: "/tmp",
  });
  const stream = await exec.start({ hijack: true, stdin: true });
  const output = apart(stream);
  stream.end("input\n");
  assert.deepEqual(await output, { stdout: "input\n/tmp\n", stderr: "environment\n" });
  const seen = await exec.inspect();
  assert.equal(seen.ExitCode, 5);
  assert.equal(seen.Running, false);
  assert.equal(seen.ContainerID, container.id);
  assert.equal(seen.ProcessConfig.entrypoint, "sh");
  await assert.rejects(exec.start({}), { statusCode: 409 });
});

test("exec on a terminal is resized and takes input", async () => {
  const container = await sleeper();
  const exec = await container.exec({
    Cmd: ["sh"],
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    Tty: true,
  });
  const stream: Duplex = await exec.start({ hijack: true, stdin: true, Tty: true });
  await exec.resize({ w: 77, h: 22 });
  stream.write("stty size; exit 9\n");
  assert.match(await text(stream), /^22 77\r$/m);
  assert.equal((await exec.inspect()).ExitCode, 9);
});

test("a detached exec runs by itself", async () => {
  const container = await sleeper();
  const exec = await container.exec({ Cmd: ["touch", "/made"] });
  await exec.start({ Detach: true });
  await eventually(async () => assert.equal((await exec.inspect()).ExitCode, 0));
  assert.ok(await container.infoArchive({ path: "/made" }));
});

test("stats: one sample, and a stream of them", async () => {
  const container = await sleeper({ HostConfig: { Memory: 64 << 20 } });
  const once_ = await container.stats({ stream: false });
  assert.equal(once_.memory_stats.limit, 64 << 20);
  assert.ok(once_.cpu_stats.system_cpu_usage > once_.precpu_stats.system_cpu_usage);
  assert.equal(once_.pids_stats?.current, 1);
  const quick = await container.stats({ stream: false, "one-shot": true });
  assert.ok(quick.cpu_stats.online_cpus > 0);
  const stream = (await container.stats({ stream: true })) as Readable;
  const [first] = await once(stream, "data");
  assert.equal(JSON.parse(String(first)).id, container.id);
  stream.destroy();
});

test("archives go in and come out", async () => {
  const container = await docker.createContainer({ Image: IMAGE });
  const packed = buildTar([{ type: "file", name: "in.txt", content: "content", mode: 0o600 }]);
  await container.putArchive(packed, { path: "/tmp" });
  await container.putArchive(readableOf(packed), { path: "/etc" });
  const stat = (await container.infoArchive({ path: "/tmp/in.txt" })) as unknown as {
    headers: Record<string, string>;
  };
  const header = JSON.parse(
    Buffer.from(stat.headers["x-docker-container-path-stat"] ?? "", "base64").toString(),
  );
  assert.deepEqual(
    { name: header.name, size: header.size, link: header.linkTarget },
    {
      name: "in.txt",
      size: 7,
      link: "",
    },
  );
  assert.deepEqual(namesIn(await buffer(await container.getArchive({ path: "/etc/in.txt" }))), ["in.txt"]);
  await assert.rejects(container.getArchive({ path: "/none" }), { statusCode: 404 });
});

test("events: live, filtered, until a time", async () => {
  const stream = (await docker.getEvents({
    filters: { type: ["container"], label: ["watched"] },
  })) as Readable;
  let received = "";
  stream.on("data", (chunk) => (received += chunk));
  const container = await docker.createContainer({ Image: IMAGE, Cmd: ["true"], Labels: { watched: "" } });
  await container.start();
  await container.wait();
  await container.remove();
  const actions = (lines: string) =>
    lines
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).Action);
  await eventually(() => assert.deepEqual(actions(received), ["create", "start", "die", "destroy"]));
  stream.destroy();
  const until = Math.floor(Date.now() / 1000) + 1;
  const later = await docker.getEvents({ since: until - 60, until, filters: { container: [container.id] } });
  assert.deepEqual(actions(await text(later)), ["create", "start", "die", "destroy"]);
});

function readableOf(bytes: Buffer): NodeJS.ReadableStream {
  const stream = new PassThrough();
  stream.end(bytes);
  return stream;
}

function namesIn(archive: Buffer): string[] {
  return spawnSync("tar", ["-t"], { input: archive, encoding: "utf8" }).stdout.trim().split("\n");
}
