/**
 * The requests whose answers are observed: a container with everything on, execs, volumes, images with a registry, networks,
 * the system's own. What one group leaves is gone at its end.
 */
import { existsSync, mkdtempSync, realpathSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";
import { createOnNetworkRequest, createRequests, everyConfig } from "./create-requests.ts";
import { engineApi } from "./engine-api.ts";
import { Observer } from "./observe.ts";

const IMAGE = "berth/busybox";
const WRITE = "dd if=/dev/zero of=/data/written bs=1M count=48 conv=fsync; rm /data/written";

/** A daemon of its own, used in every way. */
export async function observeDaemon(subnet: number): Promise<Observer> {
  const flags = ["--experimental", "--default-address-pool", "base=10.213.240.0/21,size=24"];
  const daemon = await TestDaemon.start({ subnet, flags });
  try {
    const observer = new Observer(daemon.socket);
    await useEverything(observer, daemon);
    return observer;
  } finally {
    await daemon.stop();
  }
}

async function useEverything(observer: Observer, daemon: TestDaemon): Promise<void> {
  daemon.loadBusybox();
  await useSystem(observer);
  await useVolumes(observer);
  await useContainers(observer);
  await useExecs(observer);
  await createInEveryWay(observer);
  await useImages(observer);
  await useNetworks(observer);
  await useRefused(observer);
}

async function useSystem(o: Observer): Promise<void> {
  await o.do("SystemPing");
  await o.do("SystemPingHead");
  await o.do("SystemInfo");
  await o.do("SystemVersion");
  await usePretendedRegistry(o);
}

async function useContainers(o: Observer): Promise<void> {
  const bound = mkdtempSync(join(tmpdir(), "berth-observed-"));
  const name = "observed";
  const created = await o.do("ContainerCreate", "", {
    query: { name },
    body: {
      Image: IMAGE,
      // Output, changes, and more written to a disk than its memory holds.
      Cmd: [
        "sh",
        "-c",
        `echo hello; trap exit TERM; ${WRITE}; echo x > /file; while true; do sleep 0.1; done`,
      ],
      Labels: { a: "b" },
      ExposedPorts: { "80/tcp": {}, "81/tcp": {} },
      Healthcheck: { Test: ["CMD", "true"], Interval: 1_000_000_000 },
      HostConfig: {
        Binds: [`${bound}:/bound`, "observed-volume:/data"],
        Mounts: [{ Type: "tmpfs", Target: "/tmp" }],
        PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] },
        Annotations: { c: "d" },
        Memory: 32 << 20,
        PidsLimit: 50,
        // Version 1 counts what is under a throttle only.
        BlkioDeviceWriteBps: [{ Path: diskOf(tmpdir()), Rate: 2 ** 40 }],
      },
    },
  });
  const id: string = created.json.Id;
  await o.do("ContainerStart", id);
  await eventually(async () => {
    if ((await o.ask("ContainerArchiveInfo", id, { query: { path: "/file" } })).status !== 200)
      throw new Error("nothing has been written yet");
  });
  await o.do("ContainerResize", id, { query: { h: "10", w: "10" } });
  const exec = await o.do("ContainerExec", id, { body: { Cmd: ["sleep", "60"] } });
  await o.do("ExecStart", exec.json.Id, { body: { Detach: true } });
  await eventually(async () => {
    const { json } = await o.do("ContainerInspect", id);
    if (!(json.State.Health?.Log?.length > 0)) throw new Error("the health has not been checked yet");
  });
  await o.do("ContainerInspect", id, { query: { size: "1" } });
  await o.do("ContainerList", "", { query: { all: "1", size: "1" } });
  await o.do("ContainerTop", id);
  await o.do("ContainerStats", id, { query: { stream: "0" } });
  await o.do("ContainerLogs", id, { query: { stdout: "1" } });
  await o.do("ContainerChanges", id);
  await o.do("ContainerExport", id);
  await o.do("ContainerArchiveInfo", id, { query: { path: "/etc/passwd" } });
  const archive = await o.do("ContainerArchive", id, { query: { path: "/etc/passwd" } });
  await o.do("PutContainerArchive", id, { query: { path: "/data" }, body: archive.bytes });
  await o.do("SystemDataUsage");
  const attach = { Connection: "Upgrade", Upgrade: "tcp" };
  await o.do("ContainerAttach", id, { query: { stream: "1", stdout: "1" }, headers: attach });
  await o.do("ContainerAttachWebsocket", id, {
    query: { stream: "1", stdout: "1" },
    headers: {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Key": "b2JzZXJ2ZWRvYnNlcnZlZA==",
      "Sec-WebSocket-Version": "13",
    },
  });
  await updateIt(o, id, runningChanges);
  await o.do("ContainerPause", id);
  await o.do("ContainerUnpause", id);
  await o.do("ContainerKill", id, { query: { signal: "SIGUSR2" } });
  await o.do("ContainerRename", id, { query: { name: "renamed" } });
  await o.do("ContainerRestart", id, { query: { t: "5" } });
  await o.do("ContainerStop", id, { query: { t: "5" } });
  await o.do("ContainerWait", id);
  await useCommits(o, id);
  await o.do("ContainerDelete", id, { query: { v: "1" } });
  const { json } = await o.do("ContainerCreate", "", { body: { Image: IMAGE } });
  await updateIt(o, json.Id, restingChanges);
  await o.do("ContainerPrune");
  await o.do("SystemEvents", "", { query: { since: "1", until: String(Math.ceil(Date.now() / 1000)) } });
  await o.do("VolumeDelete", "observed-volume");
  rmSync(bound, { recursive: true });
}

async function useCommits(o: Observer, container: string): Promise<void> {
  const body = { ...everyConfig(IMAGE), Image: undefined };
  await o.do("ImageCommit", "", { query: { container, repo: "observed" }, body });
  await o.do("ImageInspect", "observed");
  await o.do("ImageDelete", "observed");
  await o.do("ImageCommit", "", { query: { container }, body: {} });
  await o.do("ImagePrune");
}

/** Enough of a registry for a log-in and a search. */
async function usePretendedRegistry(o: Observer): Promise<void> {
  const found = { name: "a", description: "b", star_count: 1, is_official: true, is_automated: false };
  const server = createServer((request, response) => {
    response.setHeader("Content-Type", "application/json");
    response.end(request.url?.includes("search") ? JSON.stringify({ results: [found] }) : "{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const serveraddress = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  await o.do("SystemAuth", "", { body: { username: "a", password: "b", serveraddress } });
  await o.do("ImageSearch", "", { query: { term: `${serveraddress}/a` } });
  server.closeAllConnections();
  server.close();
}

const runningChanges = [
  { CpuShares: 512, CpuPeriod: 100_000, CpuQuota: 50_000, CpusetCpus: "0", CpusetMems: "0" },
  { Memory: 80 << 20, MemorySwap: 90 << 20, MemoryReservation: 70 << 20, PidsLimit: 77 },
  { BlkioWeight: 333 },
  { RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 } },
];

/** What a kernel may refuse, or goes with nothing of the above. */
const restingChanges = [
  { NanoCpus: 500_000_000 },
  { CpuRealtimePeriod: 900_000 },
  { CpuRealtimeRuntime: 1000 },
];

async function updateIt(o: Observer, id: string, changes: object[]): Promise<void> {
  for (const body of changes) {
    const answer = await o.ask("ContainerUpdate", id, { body });
    if (answer.status >= 400) continue;
    o.compare("ContainerUpdate", body, (await o.do("ContainerInspect", id)).json.HostConfig);
  }
}

async function useExecs(o: Observer): Promise<void> {
  const created = await o.do("ContainerCreate", "", { body: { Image: IMAGE, Cmd: ["sleep", "100"] } });
  const container: string = created.json.Id;
  await o.do("ContainerStart", container);
  const body = {
    Cmd: ["sleep", "60"],
    Tty: true,
    AttachStdout: true,
    AttachStdin: true,
    User: "0",
    Env: ["A=b"],
  };
  const exec = await o.do("ContainerExec", container, {
    body: { ...body, DetachKeys: "ctrl-a", WorkingDir: "/", ConsoleSize: [20, 30], Privileged: true },
  });
  const id: string = exec.json.Id;
  await o.do("ExecStart", id, {
    body: { Detach: false, Tty: true },
    headers: { Connection: "Upgrade", Upgrade: "tcp" },
  });
  await eventually(async () => {
    const resized = await o.ask("ExecResize", id, { query: { h: "10", w: "10" } });
    if (resized.status !== 200) throw new Error("the exec does not run yet");
  });
  await o.do("ExecInspect", id);
  await o.do("ContainerDelete", container, { query: { force: "1" } });
}

/** Creates with every field there is; what inspecting shows of them. */
async function createInEveryWay(o: Observer): Promise<void> {
  await o.do("VolumeCreate", "", { body: { Name: "observed-source" } });
  const other = await o.do("ContainerCreate", "", {
    query: { name: "observed-other" },
    body: { Image: IMAGE },
  });
  for (const body of createRequests(IMAGE)) {
    const answer = await o.ask("ContainerCreate", "", { body });
    // What is refused is not shown, which is what the table is about.
    if (answer.status >= 400) continue;
    const { json } = await o.do("ContainerInspect", answer.json.Id);
    o.compare("ContainerCreate", body, {
      ...json.Config,
      HostConfig: { ...json.HostConfig, Links: linksAsSent(json.HostConfig.Links) },
      NetworkingConfig: { EndpointsConfig: json.NetworkSettings.Networks },
    });
    await o.do("ContainerDelete", answer.json.Id, { query: { v: "1" } });
  }
  await o.do("ContainerDelete", other.json.Id);
  await o.do("VolumeDelete", "observed-source");
}

async function useVolumes(o: Observer): Promise<void> {
  const body = {
    Name: "kept",
    Driver: "local",
    DriverOpts: { type: "tmpfs", device: "tmpfs" },
    Labels: { a: "b" },
  };
  const { json } = await o.do("VolumeCreate", "", { body });
  o.compare("VolumeCreate", body, { ...json, DriverOpts: json.Options });
  await o.do("VolumeCreate", "", { body: { Name: "observed-volume" } });
  await o.do("VolumeInspect", "kept");
  await o.do("VolumeList");
  await o.do("VolumeDelete", "kept");
  await o.do("VolumeCreate", "", { body: {} });
  await o.do("VolumePrune");
}

async function useImages(o: Observer): Promise<void> {
  await using registry = await TestRegistry.start();
  const name = `${registry.host}/observed`;
  await o.ask("ImageTag", IMAGE, { query: { repo: name, tag: "one" } });
  await o.ask("ImagePush", name, { query: { tag: "one" }, headers: { "X-Registry-Auth": "e30=" } });
  await o.ask("ImageDelete", `${name}:one`);
  const saved = await o.ask("ImageGet", IMAGE);
  await o.ask("ImageGetAll", "", { query: { names: IMAGE } });
  await o.ask("ImageDelete", IMAGE);
  await o.ask("ImageCreate", "", { query: { fromImage: name, tag: "one" } });
  await o.ask("ImageCreate", "", { query: { fromImage: name, tag: "missing" } });
  await o.ask("DistributionInspect", `${name}:one`);
  await o.ask("ImageLoad", "", { body: saved.bytes });
  await o.ask("ImageList", "", { query: { "shared-size": "1" } });
  await o.ask("ImageInspect", IMAGE);
  await o.ask("ImageHistory", IMAGE);
  await o.ask("ImageDelete", `${name}:one`);
  await o.ask("BuildPrune");
  const imported = await o.do("ContainerArchive", await idOfNew(o), { query: { path: "/etc" } });
  const platform = "linux/arm/v7";
  await o.ask("ImageCreate", "", {
    query: { fromSrc: "-", repo: "observed", platform },
    body: imported.bytes,
  });
  await o.ask("ImageInspect", "observed");
  await o.ask("ImageTag", "observed", { query: { repo: name, tag: "arm" } });
  await o.ask("ImagePush", name, { query: { tag: "arm" }, headers: { "X-Registry-Auth": "e30=" } });
  await o.ask("DistributionInspect", `${name}:arm`);
  await o.ask("ImageDelete", `${name}:arm`);
  await o.do("ContainerPrune");
  await o.ask("ImagePrune", "", { query: { filters: '{"dangling":["false"]}' } });
  await o.do("ImageLoad", "", { body: saved.bytes });
}

/** Shown with the container's own name: "/other:/this/alias". */
function linksAsSent(links: string[] | null): string[] | undefined {
  return links?.map((link) => link.replace(/^\/([^:]+):\/[^/]+\/(.*)$/, "$1:$2"));
}

async function idOfNew(o: Observer): Promise<string> {
  return (await o.do("ContainerCreate", "", { body: { Image: IMAGE } })).json.Id;
}

async function useNetworks(o: Observer): Promise<void> {
  await o.ask("NetworkList");
  await o.ask("NetworkInspect", "bridge");
  const container = await o.do("ContainerCreate", "", { body: { Image: IMAGE, Cmd: ["sleep", "100"] } });
  await o.do("ContainerStart", container.json.Id);
  const body = {
    Name: "observed-network",
    Driver: "bridge",
    EnableIPv6: true,
    IPAM: {
      Driver: "default",
      Config: [
        {
          Subnet: "10.213.246.0/24",
          IPRange: "10.213.246.128/25",
          Gateway: "10.213.246.1",
          AuxiliaryAddresses: { a: "10.213.246.2" },
        },
        { Subnet: "fd00:213:246::/64" },
      ],
    },
    Options: { "com.docker.network.driver.mtu": "1400" },
    Labels: { a: "b" },
  };
  const created = await o.ask("NetworkCreate", "", { body });
  if (created.status === 201) {
    const { Id } = created.json;
    o.compare("NetworkCreate", body, (await o.ask("NetworkInspect", Id)).json);
    await createOnNetwork(o, body.Name);
    await o.ask("NetworkConnect", Id, { body: { Container: container.json.Id } });
    await o.ask("NetworkInspect", Id);
    await o.ask("NetworkDisconnect", Id, { body: { Container: container.json.Id } });
    await o.ask("NetworkDelete", Id);
    await createOtherNetworks(o);
  }
  await o.do("ContainerDelete", container.json.Id, { query: { force: "1" } });
  await o.ask("NetworkPrune");
}

/** What goes together with none of the above. */
async function createOtherNetworks(o: Observer): Promise<void> {
  const requests = [
    { Name: "observed-a", Scope: "local", Internal: true, Attachable: true, IPAM: { Options: { a: "b" } } },
    {
      Name: "observed-b",
      EnableIPv4: false,
      EnableIPv6: true,
      IPAM: { Config: [{ Subnet: "fd00:213:247::/64" }] },
    },
    { Name: "observed-c", ConfigOnly: true, IPAM: { Config: [{ Subnet: "10.213.245.0/24" }] } },
    { Name: "observed-d", ConfigFrom: { Network: "observed-c" } },
  ];
  const made: string[] = [];
  for (const body of requests) {
    const answer = await o.ask("NetworkCreate", "", { body });
    if (answer.status >= 400) continue;
    made.push(answer.json.Id);
    o.compare("NetworkCreate", body, (await o.do("NetworkInspect", answer.json.Id)).json);
  }
  for (const id of made.reverse()) await o.do("NetworkDelete", id);
}

async function createOnNetwork(o: Observer, network: string): Promise<void> {
  const body = createOnNetworkRequest(IMAGE, network);
  const answer = await o.ask("ContainerCreate", "", { body });
  if (answer.status >= 400) return;
  await o.do("NetworkList");
  await o.do("ContainerList", "", { query: { all: "1" } });
  await o.do("SystemDataUsage");
  const { json } = await o.do("ContainerInspect", answer.json.Id);
  o.compare("ContainerCreate", body, {
    NetworkingConfig: { EndpointsConfig: json.NetworkSettings.Networks },
  });
  await o.do("ContainerDelete", answer.json.Id);
}

/** Only to see which of these answer at all. */
async function useRefused(o: Observer): Promise<void> {
  await o.do("PluginList");
  for (const [id, { body, path }] of Object.entries(engineApi.operations)) {
    if (o.observed.served.has(id) || o.observed.refused.has(id)) continue;
    const name = path.includes("{") ? "observed" : "";
    await o.ask(id, name, body === undefined || body === "binary" ? {} : { body: {} });
  }
}

/** The device a directory is on, whole: throttles are not for parts of one. */
function diskOf(directory: string): string {
  const { dev } = statSync(directory);
  const major = ((dev >> 8) & 0xfff) | ((dev / 2 ** 32) & ~0xfff);
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  const entry = realpathSync(`/sys/dev/block/${major}:${minor}`);
  return `/dev/${basename(existsSync(join(entry, "partition")) ? dirname(entry) : entry)}`;
}
