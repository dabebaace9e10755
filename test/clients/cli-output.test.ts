/** What Berth's command line prints is what docker's prints, for the same answers of the engine: tables, ids, JSON, failures. */
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Answers, dockerCliMissing, RecordingEngine } from "#test/clients/docker-cli.ts";

const now = Math.floor(Date.now() / 1000);
const id = (digit: string) => digit.repeat(64);
const answers: Answers = {
  "/containers/json": [
    {
      Id: id("a"),
      Names: ["/web", "/other/web"],
      Image: "localhost:5000/busybox",
      ImageID: `sha256:${id("b")}`,
      Command: "httpd -f -h /www and a long command",
      Created: now - 150,
      Ports: [
        { IP: "0.0.0.0", PrivatePort: 80, PublicPort: 8080, Type: "tcp" },
        { IP: "::", PrivatePort: 80, PublicPort: 8080, Type: "tcp" },
        { PrivatePort: 99, Type: "tcp" },
        { PrivatePort: 100, Type: "tcp" },
        { IP: "0.0.0.0", PrivatePort: 53, PublicPort: 53, Type: "udp" },
        { IP: "0.0.0.0", PrivatePort: 54, PublicPort: 54, Type: "udp" },
        { IP: "0.0.0.0", PrivatePort: 57, PublicPort: 57, Type: "udp" },
      ],
      Labels: { a: "b", c: "d" },
      State: "running",
      Status: "Up 2 minutes",
      HostConfig: { NetworkMode: "default" },
      NetworkSettings: { Networks: { bridge: {} } },
      Mounts: [
        { Type: "volume", Name: "vol", Source: "/var/x", Destination: "/www", Driver: "local" },
        { Type: "bind", Source: "/srv/very/long/path/here", Destination: "/x" },
      ],
      SizeRw: 1234,
      SizeRootFs: 4_430_000,
    },
    {
      Id: id("c"),
      Names: ["/db"],
      Image: `sha256:${id("b")}`,
      ImageID: `sha256:${id("b")}`,
      Command: "sh",
      Created: now - 86_400 * 3,
      Ports: [],
      Labels: {},
      State: "exited",
      Status: "Exited (0) 3 days ago",
      HostConfig: { NetworkMode: "default" },
      NetworkSettings: { Networks: {} },
      Mounts: [],
    },
  ],
  "/images/json": [
    {
      Id: `sha256:${id("1")}`,
      RepoTags: ["busybox:latest", "busybox:1"],
      RepoDigests: [`busybox@sha256:${id("9")}`],
      Created: now - 86_400 * 40,
      Size: 4_430_000,
      SharedSize: -1,
      Labels: {},
      Containers: -1,
      ParentId: "",
    },
    {
      Id: `sha256:${id("2")}`,
      RepoTags: [],
      RepoDigests: [],
      Created: now - 7200 - 60,
      Size: 1_234_567_890,
      SharedSize: -1,
      Labels: null,
      Containers: -1,
      ParentId: "",
    },
    {
      Id: `sha256:${id("3")}`,
      RepoTags: null,
      RepoDigests: [`localhost:5000/a/b@sha256:${id("8")}`],
      Created: 0,
      Size: 999_999,
      SharedSize: -1,
      Labels: null,
      Containers: -1,
      ParentId: "",
    },
  ],
  "/volumes": {
    Volumes: [
      { Name: "vol", Driver: "local", Mountpoint: "/m", Scope: "local", Labels: { a: "b" }, Options: null },
      { Name: "a", Driver: "local", Mountpoint: "/n", Scope: "local", Labels: null, Options: null },
    ],
    Warnings: null,
  },
  "/networks": [
    {
      Name: "bridge",
      Id: id("d"),
      Created: "2024-01-01T00:00:00.123456789Z",
      Scope: "local",
      Driver: "bridge",
      EnableIPv4: true,
      EnableIPv6: false,
      IPAM: { Driver: "default", Options: null, Config: [] },
      Internal: false,
      Attachable: false,
      Ingress: false,
      ConfigFrom: { Network: "" },
      ConfigOnly: false,
      Containers: {},
      Options: {},
      Labels: {},
    },
  ],
  "/volumes/vol": {
    Name: "vol",
    Driver: "local",
    Mountpoint: "/m",
    Scope: "local",
    Labels: null,
    Options: null,
  },
};

const lines = `
ps
ps -a --no-trunc
ps -q
ps -s
ps --format json
ps --format {{.Names}}:{{.Ports}}:{{.Mounts}}:{{.LocalVolumes}}
ps --format {{json .Labels}}
ps --format table {{.Names}}\\t{{.Status}}\\t{{.CreatedAt}}\\t{{.State}}\\t{{.Label "a"}}
ps --format table {{.ID}}\\t{{upper .Image}}
ps x
ps --filter x
ps --nope
images
images -q
images --digests
images --no-trunc
images --format {{.Repository}}:{{.Tag}} {{.Size}}
volume ls
volume ls -q
volume ls --format json
volume inspect vol --format {{.Mountpoint}}
volume inspect x
volume rm x
network ls
network ls --no-trunc
network ls --format json
network inspect x
rm x
rm -f x
stop x
kill x
start x
restart x
wait x
logs x
logs
logs a b
exec x y
exec x
attach x
rename x y
tag a b
rmi x
pull x
pull -q x
import /nonexistent b
load -i /nonexistent
port x
top x
nope
container nope
run --rm --restart always x
create --pull never x
`;

describe("output is docker's", { skip: dockerCliMissing() }, () => {
  const engine = new RecordingEngine(answers);
  const main = join(import.meta.dirname, "../../apps/berth/main.ts");
  const options = { cwd: tmpdir(), env: { TZ: "UTC" } };
  before(async () => await engine.listen());
  after(async () => await engine[Symbol.asyncDispose]());

  for (const line of lines.trim().split("\n"))
    it(line, async () => {
      const argv = split(line);
      const docker = await engine.docker(argv, options);
      const berth = await engine.run(process.execPath, [main, ...argv], options);
      assert.equal(berth.stdout, docker.stdout);
      assert.equal(berth.stderr, docker.stderr.replaceAll("docker", "berth"));
      assert.equal(berth.code, docker.code);
    });
});

/** At spaces, but a --format is the rest of the line. */
function split(line: string): string[] {
  const [before = "", format] = line.split(" --format ");
  return [...before.split(" "), ...(format === undefined ? [] : ["--format", format])];
}
