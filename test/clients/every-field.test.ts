/**
 * Whatever field an answer of Debian's dockerd has, Berth's has too, of the same type, in the version both speak and in the
 * oldest: a client that decodes into fixed types, or looks into a field without asking, finds what it knows.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { eventually } from "#test/fixtures/eventually.ts";
import { type ParityEngine, ParityEngines } from "#test/parity/engines.ts";

/** Paths that dockerd has and Berth has not, with the reason. */
const without: readonly (readonly [RegExp, string])[] = [
  [/\.KernelMemory(TCP)?$/, "shown where it is set; Docker has left the first out since API 1.42"],
  [/^\/info\.Runtimes\.(runc|io\.containerd|berth)/, "which runtimes there are"],
  [
    /\.(VirtualSize|ContainerConfig|Container|DockerVersion)(\.|$)/,
    "of images: see test/integration/image-answers.test.ts",
  ],
  [/\.networks\.|\.memory_stats\.stats\./, "named by the kernel and the network"],
];

const container = {
  Image: "berth/busybox",
  Cmd: ["sleep", "600"],
  ExposedPorts: { "80/tcp": {} },
  Healthcheck: { Test: ["CMD", "true"], Interval: 1e9 },
  HostConfig: {
    Binds: ["fields:/data"],
    PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] },
  },
};

const paths = [
  "/info",
  "/version",
  "/system/df",
  "/containers/full/json?size=1",
  "/containers/bare/json",
  "/containers/json?all=1&size=1",
  "/containers/full/stats?stream=0",
  "/containers/full/top",
  "/containers/full/changes",
  "/exec/EXEC/json",
  "/volumes",
  "/volumes/fields",
  "/networks/bridge",
  // The first is looked at, of which there has to be one: only the probes of health come again and again.
  `/events?since=1&until=UNTIL&filters=${encodeURIComponent('{"event":["exec_die"]}')}`,
];

describe("fields of answers", () => {
  let engines: ParityEngines;
  before(async () => {
    engines = await ParityEngines.start();
    for (const engine of [engines.dockerd, engines.berth]) await prepare(engine);
  });
  after(() => engines[Symbol.asyncDispose]());

  for (const version of ["1.41", "1.24"]) {
    for (const path of paths) {
      it(`${path} in ${version}`, async () => {
        const [theirs, ours] = [
          await answerOf(engines.dockerd, path, version),
          await answerOf(engines.berth, path, version),
        ];
        const [wanted, found] = [
          kinds(theirs, path.split("?")[0] ?? ""),
          kinds(ours, path.split("?")[0] ?? ""),
        ];
        const gaps = [...wanted].filter(
          ([at, kind]) =>
            !without.some(([pattern]) => pattern.test(at)) &&
            (!found.has(at) || (kind !== "null" && found.get(at) !== "null" && found.get(at) !== kind)),
        );
        assert.deepEqual(gaps, []);
      });
    }
  }

  it("the short id is an alias for clients of versions before 1.45, annotations are not in lists before 1.46", async () => {
    const config = {
      Image: "berth/busybox",
      Cmd: ["sleep", "600"],
      Hostname: "own",
      HostConfig: { NetworkMode: "aliased", Annotations: { a: "b" } },
      NetworkingConfig: { EndpointsConfig: { aliased: { Aliases: ["mine"] } } },
    };
    const aliases = async (engine: ParityEngine, version: string) => {
      const { json } = await engine.request("GET", "/containers/aliased/json", undefined, version);
      return (json.NetworkSettings.Networks.aliased.Aliases ?? [])
        .map((alias: string) => (json.Id.startsWith(alias) ? "<id>" : alias))
        .sort();
    };
    for (const engine of [engines.dockerd, engines.berth]) {
      const IPAM = { Config: [{ Subnet: engine.name === "berth" ? "10.213.248.0/24" : "10.213.249.0/24" }] };
      assert.equal((await engine.request("POST", "/networks/create", { Name: "aliased", IPAM })).status, 201);
      await engine.request(
        "POST",
        "/containers/create?name=aliased",
        config,
        engine.name === "berth" ? "1.51" : "1.41",
      );
      assert.equal((await engine.request("POST", "/containers/aliased/start")).status, 204);
    }
    try {
      assert.deepEqual(await aliases(engines.dockerd, "1.41"), ["<id>", "mine", "own"]);
      assert.deepEqual(await aliases(engines.berth, "1.44"), ["<id>", "mine", "own"]);
      assert.deepEqual(await aliases(engines.berth, "1.45"), ["mine"]);
      const listed = async (version: string) => {
        const { json } = await engines.berth.request("GET", "/containers/json", undefined, version);
        return json.find(({ Names }: { Names: string[] }) => Names.includes("/aliased")).HostConfig
          .Annotations;
      };
      assert.equal(await listed("1.45"), undefined);
      assert.deepEqual(await listed("1.46"), { a: "b" });
    } finally {
      for (const engine of [engines.dockerd, engines.berth]) {
        await engine.request("DELETE", "/containers/aliased?force=1");
        await engine.request("DELETE", "/networks/aliased");
      }
    }
  });

  it("what the kernel can do is told alike", async () => {
    const told = async (engine: ParityEngine) => {
      const { json } = await engine.request("GET", "/info");
      const names = [
        ..."MemoryLimit SwapLimit KernelMemoryTCP CpuCfsPeriod CpuCfsQuota CPUShares CPUSet PidsLimit".split(
          " ",
        ),
        ..."OomKillDisable IPv4Forwarding CgroupVersion CgroupDriver KernelVersion OperatingSystem".split(
          " ",
        ),
        ..."OSVersion OSType Architecture NCPU MemTotal Driver LoggingDriver Name Isolation Swarm".split(" "),
        ..."IndexServerAddress GenericResources Labels ExperimentalBuild Warnings".split(" "),
      ];
      return Object.fromEntries(names.map((name) => [name, json[name]]));
    };
    assert.deepEqual(await told(engines.berth), await told(engines.dockerd));
  });
});

async function prepare(engine: ParityEngine): Promise<void> {
  await engine.request("POST", "/containers/create?name=bare", { Image: "berth/busybox" });
  await engine.request("POST", "/containers/create?name=full", container);
  const { status } = await engine.request("POST", "/containers/full/start");
  assert.equal(status, 204);
  await eventually(async () => {
    const { json } = await engine.request("GET", "/containers/full/json");
    assert.equal(json.State.Health?.Log?.length > 0, true);
  });
}

async function answerOf(engine: ParityEngine, path: string, version: string): Promise<unknown> {
  let asked = path.replace("UNTIL", String(Math.ceil(Date.now() / 1000)));
  if (path.includes("EXEC")) {
    const made = await engine.request("POST", "/containers/full/exec", { Cmd: ["true"] });
    asked = asked.replace("EXEC", made.json.Id);
  }
  const { status, json } = await engine.request("GET", asked, undefined, version);
  assert.equal(status, 200);
  assert.notEqual(json, undefined);
  return json;
}

/** Every path in a value with what is there; a list's first item stands for all, and ids as keys for any. */
function kinds(value: unknown, at: string, into: Map<string, string> = new Map()): Map<string, string> {
  into.set(at, value === null ? "null" : Array.isArray(value) ? "list" : typeof value);
  if (Array.isArray(value)) {
    if (typeof value[0] === "object") kinds(value[0], `${at}[]`, into);
  } else if (typeof value === "object" && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      kinds(inner, `${at}.${/^[0-9a-f]{64}$/.test(key) ? "<id>" : key}`, into);
    }
  }
  return into;
}
