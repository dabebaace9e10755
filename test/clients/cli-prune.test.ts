/** `system df` and the prune commands: Berth's command line prints, asks and sends what docker's does. */
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Answers, dockerCliMissing, RecordingEngine } from "#test/clients/docker-cli.ts";

const now = Math.floor(Date.now() / 1000);
const id = (digit: string) => digit.repeat(64);
const image = {
  RepoDigests: [],
  Labels: null,
  ParentId: "",
  SharedSize: 1_000_000,
};
const container = { Ports: [], Labels: {}, HostConfig: {}, NetworkSettings: { Networks: {} }, Mounts: [] };
const some: Answers = {
  "/system/df": {
    LayersSize: 5_000_000,
    Images: [
      {
        ...image,
        Id: `sha256:${id("1")}`,
        RepoTags: ["busybox:latest", "bb:1"],
        Created: now - 86_400 * 3 - 60,
        Size: 4_123_456,
        Containers: 2,
      },
      {
        ...image,
        Id: `sha256:${id("2")}`,
        RepoTags: [],
        Created: now - 7260,
        Size: 2_000_000,
        Containers: 0,
      },
    ],
    Containers: [
      {
        ...container,
        Id: id("a"),
        Names: ["/web"],
        Image: "busybox",
        ImageID: `sha256:${id("1")}`,
        Command: "sleep 1",
        Created: now - 150,
        State: "running",
        Status: "Up 1 second",
        SizeRw: 1234,
        SizeRootFs: 5_000_000,
        Mounts: [{ Type: "volume", Name: "v", Driver: "local" }],
      },
      {
        ...container,
        Id: id("b"),
        Names: ["/db"],
        Image: "busybox",
        ImageID: `sha256:${id("1")}`,
        Command: "sh",
        Created: now - 210,
        State: "exited",
        Status: "Exited (0) 1 second ago",
        SizeRw: 766,
        SizeRootFs: 5_000_000,
      },
    ],
    Volumes: [
      {
        Name: "v",
        Driver: "local",
        Mountpoint: "/m",
        Scope: "local",
        Labels: { a: "b" },
        Options: null,
        UsageData: { Size: 1000, RefCount: 1 },
      },
      {
        Name: "w",
        Driver: "local",
        Mountpoint: "/n",
        Scope: "local",
        Labels: null,
        Options: null,
        UsageData: { Size: 500, RefCount: 0 },
      },
    ],
    BuildCache: [],
  },
  "POST /images/prune": {
    ImagesDeleted: [{ Untagged: "x:1" }, { Deleted: `sha256:${id("1")}` }],
    SpaceReclaimed: 1_234_567,
  },
  "POST /containers/prune": { ContainersDeleted: [id("a"), id("b")], SpaceReclaimed: 12 },
  "POST /volumes/prune": { VolumesDeleted: ["v"], SpaceReclaimed: 99 },
  "POST /networks/prune": { NetworksDeleted: ["n"] },
  "POST /build/prune": { CachesDeleted: ["c"], SpaceReclaimed: 5 },
};
const none: Answers = {
  "/system/df": { LayersSize: 0, Images: [], Containers: [], Volumes: [], BuildCache: [] },
  "POST /images/prune": { ImagesDeleted: null, SpaceReclaimed: 0 },
  "POST /containers/prune": { ContainersDeleted: null, SpaceReclaimed: 0 },
  "POST /volumes/prune": { VolumesDeleted: [], SpaceReclaimed: 0 },
  "POST /networks/prune": { NetworksDeleted: null },
  "POST /build/prune": { CachesDeleted: null, SpaceReclaimed: 0 },
};

const commands: [line: string, input?: string][] = [
  ["system df"],
  ["system df -v"],
  ["system df --format json"],
  ["system df --format {{.Type}}:{{.TotalCount}}:{{.Active}}:{{.Size}}:{{.Reclaimable}}"],
  ["system df -v --format json"],
  ["image prune", "y\n"],
  ["image prune", "n\n"],
  ["image prune", ""],
  ["image prune -f"],
  ["image prune -af --filter label=x"],
  ["image prune -a", "Y\n"],
  ["container prune", "y\n"],
  ["container prune -f --filter until=24h"],
  ["volume prune", "yes\n"],
  ["volume prune -a", "y\n"],
  ["network prune", "y\n"],
  ["system prune", "y\n"],
  ["system prune -a --volumes", "y\n"],
  ["system prune --filter label=x --filter until=24h", "n\n"],
  ["system prune -f"],
  ["system prune --volumes --filter until=1h -f"],
  ["image prune --filter label"],
];

describe("disk usage and prune", { skip: dockerCliMissing() }, () => {
  for (const [what, answers] of [
    ["with something there", some],
    ["with nothing there", none],
  ] as const) {
    describe(what, () => {
      let engine: RecordingEngine;
      before(async () => {
        engine = new RecordingEngine(answers);
        await engine.listen();
      });
      after(() => engine[Symbol.asyncDispose]());

      for (const [line, input] of commands) {
        const argv = line.split(" ");
        const answer = input === undefined ? "" : `, answered ${JSON.stringify(input)}`;
        it(`${line}${answer}`, async () => {
          const options = { cwd: tmpdir(), env: { TZ: "UTC" }, ...(input !== undefined && { input }) };
          const docker = await engine.docker(argv, options);
          const own = join(import.meta.dirname, "../../bin/berth");
          const berth = await engine.run(own, argv, options);
          const words = (text: string) => text.replaceAll("berth", "docker");
          assert.equal(berth.stdout, docker.stdout);
          assert.equal(words(berth.stderr), docker.stderr);
          assert.equal(berth.code, docker.code);
          const sent = ({ filters, ...query }: Record<string, string>) => ({
            ...query,
            // An empty parameter says nothing.
            ...(filters ? { filters: JSON.parse(filters) } : {}),
          });
          assert.deepEqual(sent(berth.query), sent(docker.query));
        });
      }
    });
  }
});
