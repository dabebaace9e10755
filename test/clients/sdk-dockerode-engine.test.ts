/** npm's dockerode: images, volumes, networks and the daemon itself. Its containers are in sdk-dockerode.test.ts. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { PassThrough } from "node:stream";
import { buffer } from "node:stream/consumers";
import { after, afterEach, before, test } from "node:test";
import Docker from "dockerode";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";

const IMAGE = "berth/busybox:latest";

let daemon: TestDaemon;
let registry: TestRegistry;
let docker: Docker;
before(async () => {
  registry = await TestRegistry.start();
  daemon = await TestDaemon.start({ subnet: 98 });
  daemon.loadBusybox();
  docker = new Docker({ socketPath: daemon.socket });
});
afterEach(() => {
  const ids = daemon.docker("ps", "-aq").stdout.split("\n").filter(Boolean);
  if (ids.length > 0) daemon.docker("rm", "-f", "-v", ...ids);
});
after(async () => {
  await daemon.stop();
  await registry.stop();
});

/** Progress messages to the end of a pull, push or load. */
function followed(stream: NodeJS.ReadableStream): Promise<Record<string, unknown>[]> {
  return new Promise((done, failed) =>
    docker.modem.followProgress(stream, (error: Error | null, messages: Record<string, unknown>[]) =>
      error === null ? done(messages) : failed(error),
    ),
  );
}

test("pull and push tell their progress; tags, history, inspect, list and removal", async () => {
  const name = `${registry.host}/dockerode/busybox`;
  await docker.getImage(IMAGE).tag({ repo: name, tag: "1" });
  const pushed = await followed(await docker.getImage(`${name}:1`).push({}));
  assert.ok(pushed.some(({ aux }) => typeof aux === "object"));
  await docker.getImage(`${name}:1`).remove();
  const pulled = await followed(await docker.pull(`${name}:1`));
  assert.equal(pulled.at(-1)?.status, `Status: Downloaded newer image for ${name}:1`);
  const image = docker.getImage(`${name}:1`);
  const seen = await image.inspect();
  assert.deepEqual(seen.RepoTags.includes(`${name}:1`), true);
  assert.match(seen.RepoDigests[0] ?? "", /@sha256:[0-9a-f]{64}$/);
  assert.match((await image.history())[0].Id, /^sha256:/);
  const listed = await docker.listImages({ filters: { reference: [`${name}:*`] } });
  assert.deepEqual(
    listed.map(({ Id }) => Id),
    [seen.Id],
  );
  await assert.rejects(docker.pull(`${name}:none`).then(followed), /manifest unknown|not found/);
  const inRegistry = await image.distribution();
  assert.match(inRegistry.Descriptor.digest, /^sha256:/);
  const archive = await buffer(await image.get());
  await image.remove();
  await followed(await docker.loadImage(readableOf(archive)));
  assert.equal((await docker.getImage(`${name}:1`).inspect()).Id, seen.Id);
  await docker.getImage(`${name}:1`).remove();
});

test("commit makes an image, export an archive", async () => {
  const container = await docker.createContainer({ Image: IMAGE, Cmd: ["sh", "-c", "echo kept >/kept"] });
  await container.start();
  await container.wait();
  await container.commit({ repo: "dockerode/committed", tag: "1", comment: "why", changes: "CMD cat /kept" });
  const again = await docker.createContainer({ Image: "dockerode/committed:1" });
  await again.start();
  await again.wait();
  assert.equal((await again.logs({ stdout: true })).subarray(8).toString(), "kept\n");
  assert.ok(namesIn(await buffer(await container.export())).includes("kept"));
  await again.remove();
  await docker.getImage("dockerode/committed:1").remove();
});

test("networks: created, joined with an address and aliases, left, removed, pruned", async () => {
  const prefix = `10.214.${daemon.gateway.split(".")[2]}.`;
  const network = await docker.createNetwork({
    Name: "dockerode-net",
    Driver: "bridge",
    IPAM: { Config: [{ Subnet: `${prefix}0/24`, Gateway: `${prefix}1` }] },
    Labels: { kind: "test" },
  });
  await assert.rejects(docker.createNetwork({ Name: "dockerode-net" }), { statusCode: 409 });
  const server = await docker.createContainer({
    name: "server",
    Image: IMAGE,
    Cmd: ["sleep", "1000"],
    HostConfig: { NetworkMode: "dockerode-net" },
    NetworkingConfig: { EndpointsConfig: { "dockerode-net": { Aliases: ["main"] } } },
  });
  await server.start();
  const client = await docker.createContainer({ name: "client", Image: IMAGE, Cmd: ["sleep", "1000"] });
  await client.start();
  await network.connect({
    Container: client.id,
    EndpointConfig: { Aliases: ["second"], IPAMConfig: { IPv4Address: `${prefix}50` } },
  });
  const seen = await client.inspect();
  assert.deepEqual(Object.keys(seen.NetworkSettings.Networks).sort(), ["bridge", "dockerode-net"]);
  assert.equal(seen.NetworkSettings.Networks["dockerode-net"]?.IPAddress, `${prefix}50`);
  for (const name of ["main", "server"]) {
    const exec = await client.exec({ Cmd: ["ping", "-c", "1", "-w", "5", name], AttachStdout: true });
    await buffer(await exec.start({}));
    assert.equal((await exec.inspect()).ExitCode, 0, name);
  }
  const resource = await network.inspect();
  assert.equal(resource.IPAM?.Config?.[0]?.Subnet, `${prefix}0/24`);
  assert.equal(resource.Containers?.[client.id]?.IPv4Address, `${prefix}50/24`);
  const listed = await docker.listNetworks({ filters: { label: ["kind=test"] } });
  assert.deepEqual(
    listed.map(({ Id }) => Id),
    [network.id],
  );
  await assert.rejects(network.remove(), { statusCode: 403 });
  await network.disconnect({ Container: client.id });
  assert.deepEqual(Object.keys((await client.inspect()).NetworkSettings.Networks), ["bridge"]);
  await server.remove({ force: true });
  await network.remove();
  await assert.rejects(network.inspect(), { statusCode: 404 });
  await docker.createNetwork({ Name: "dockerode-unused" });
  assert.deepEqual((await docker.pruneNetworks()).NetworksDeleted, ["dockerode-unused"]);
});

test("volumes: created, listed, inspected, pruned, removed", async () => {
  const volume = await docker.createVolume({ Name: "dockerode-volume", Labels: { kind: "test" } });
  assert.equal(volume.name, "dockerode-volume");
  assert.deepEqual((await volume.inspect()).Labels, { kind: "test" });
  const { Volumes } = await docker.listVolumes({ filters: { label: ["kind=test"] } });
  assert.deepEqual(
    Volumes.map(({ Name }) => Name),
    ["dockerode-volume"],
  );
  await volume.remove();
  await assert.rejects(volume.inspect(), { statusCode: 404 });
  assert.ok((await docker.pruneVolumes()).SpaceReclaimed >= 0);
});

test("the daemon: ping, version, info, disk usage, prunes", async () => {
  assert.equal(String(await docker.ping()), "OK");
  const version = await docker.version();
  assert.match(version.ApiVersion, /^1\.\d+$/);
  const info = await docker.info();
  assert.equal(info.OSType, "linux");
  const usage = await docker.df();
  assert.equal(usage.Images?.length, 1);
  assert.deepEqual((await docker.pruneContainers()).ContainersDeleted ?? [], []);
  assert.deepEqual((await docker.pruneImages()).ImagesDeleted ?? [], []);
});

test("outside any swarm, what is the swarm's is refused; so is what does not exist", async () => {
  await assert.rejects(docker.listServices(), { statusCode: 503, message: /not a swarm manager/ });
  await assert.rejects(docker.swarmInspect(), { statusCode: 503 });
  assert.deepEqual(await docker.listPlugins(), []);
  await assert.rejects(docker.getExec("none").inspect(), { statusCode: 404 });
});

function readableOf(bytes: Buffer): NodeJS.ReadableStream {
  const stream = new PassThrough();
  stream.end(bytes);
  return stream;
}

function namesIn(archive: Buffer): string[] {
  return spawnSync("tar", ["-t"], { input: archive, encoding: "utf8" }).stdout.trim().split("\n");
}
