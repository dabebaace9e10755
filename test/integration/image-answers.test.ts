/**
 * Images as Docker's clients see them: inspect, list and removal beside Debian's dockerd on the same loaded images, field by
 * field; disk usage beside `find`.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { ContainerSummary } from "#api-types/container.ts";
import type { ImageInspect, ImageSummary } from "#api-types/image.ts";
import type { Volume } from "#api-types/system.ts";
import { buildImage, buildTar, dockerArchive } from "#images/archive-build.ts";
import { digestOf } from "#images/digest.ts";
import { builtBusybox } from "#test/fixtures/busybox-image.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { Dockerd } from "#test/fixtures/peer-engines.ts";

/** The newest that Debian's dockerd speaks. */
const version = "/v1.41";
let daemon: TestDaemon;
let dockerd: Dockerd;

before(async () => {
  daemon = await TestDaemon.start({ subnet: 10 });
  dockerd = await Dockerd.start();
  const directory = mkdtempSync(join(tmpdir(), "berth-answers-"));
  try {
    for (const [index, archive] of (await archives()).entries()) {
      const path = join(directory, `${index}.tar`);
      writeFileSync(path, archive);
      assert.equal(daemon.docker("load", "-q", "-i", path).code, 0);
      const loaded = dockerd.docker(["load", "-q", "-i", path]);
      assert.equal(loaded.code, 0, loaded.output);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
after(async () => {
  await dockerd?.[Symbol.asyncDispose]();
  await daemon?.stop();
});

const architecture = process.arch === "arm64" ? "arm64" : "amd64";

/** One with every field there is, one with as few as possible, one that shares a layer, one on busybox. */
async function archives(): Promise<Buffer[]> {
  const base = buildTar([
    { type: "directory", name: "etc" },
    { type: "file", name: "etc/name", content: "base" },
    { type: "symlink", name: "etc/link", linkName: "name" },
    { type: "hardlink", name: "etc/again", linkName: "etc/name" },
  ]);
  const top = buildTar([
    { type: "file", name: "top", content: "0123456789" },
    { type: "file", name: "etc/.wh.again", content: "" },
  ]);
  const busybox = await builtBusybox();
  const full = buildImage([base, top], {
    architecture,
    os: "linux",
    variant: "v8",
    created: "2026-01-02T03:04:05.120Z",
    author: "somebody <s@example.org>",
    comment: "made here",
    docker_version: "20.10.0",
    container: "c".repeat(64),
    container_config: { Cmd: ["/bin/sh", "-c", "#(nop)"], Image: "" },
    config: {
      User: "1000:1000",
      ExposedPorts: { "80/tcp": {} },
      Env: ["PATH=/bin", "A=b"],
      Entrypoint: ["/entry"],
      Cmd: ["a", "b"],
      Volumes: { "/data": {} },
      WorkingDir: "/srv",
      Labels: { b: "2", a: "1" },
      StopSignal: "SIGQUIT",
      OnBuild: ["RUN x"],
      Shell: ["/bin/ash", "-c"],
      Healthcheck: { Test: ["CMD", "true"], Interval: 1_000_000_000, Retries: 3 },
    },
    history: [
      { created: "2026-01-01T00:00:00Z", created_by: "first", comment: "one" },
      { created: "2026-01-02T00:00:00Z", created_by: "empty", empty_layer: true },
      { created: "2026-01-02T03:04:05.120Z", created_by: "second" },
    ],
  });
  const bare = buildImage([top], { architecture, os: "linux" });
  const shares = buildImage([base], {
    architecture,
    os: "linux",
    created: "2026-01-01T00:00:00+02:00",
    config: { Labels: null, Env: [] },
  });
  const runs = buildImage([...busybox.layers, top], {
    architecture,
    os: "linux",
    created: "2026-01-03T00:00:00Z",
    config: { Cmd: ["sh"], Env: ["PATH=/bin"] },
  });
  return [
    dockerArchive([{ image: full, tags: ["full:1", "localhost:5000/dir/full:2"] }]),
    dockerArchive([{ image: bare, tags: ["bare:latest"] }]),
    dockerArchive([{ image: shares, tags: ["shares:1"] }]),
    dockerArchive([{ image: runs, tags: ["runs:1"] }]),
    // Takes the name from "bare", which is left without one.
    dockerArchive([
      { image: buildImage([base, top, base], { os: "linux", architecture }), tags: ["bare:latest"] },
    ]),
  ];
}

function ask(socketPath: string, method: string, path: string): Promise<{ status: number; json: unknown }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path: version + path }, (answer) => {
      let text = "";
      answer.on("data", (chunk) => {
        text += chunk;
      });
      answer.on("end", () =>
        resolve({ status: answer.statusCode ?? 0, json: text === "" ? undefined : JSON.parse(text) }),
      );
    });
    sent.on("error", reject);
    sent.end();
  });
}

/** The same request to both: [Berth's, dockerd's]. */
async function both<T>(method: string, path: string): Promise<[berth: T, dockerd: T]> {
  const [ours, theirs] = await Promise.all(
    [daemon.socket, dockerd.socket].map((socket) => ask(socket, method, path)),
  );
  const what = `${path}: ${JSON.stringify([ours?.json, theirs?.json])}`;
  assert.equal(ours?.status, theirs?.status === 500 && ours?.status === 400 ? 400 : theirs?.status, what);
  return [ours?.json as T, newerWords(theirs?.json) as T];
}

/** As dockerd says it by now. */
function newerWords(answer: unknown): unknown {
  if (typeof answer !== "object" || answer === null || !("message" in answer)) return answer;
  const message = String(answer.message)
    .replace(/^Invalid filter/, "invalid filter")
    .replace(/^no such image: .*: (?=No such image)/, "");
  return { message };
}

/** What cannot be the same: where the layers lie, when it was tagged. */
function comparable(image: ImageInspect): unknown {
  const layers = (image.GraphDriver.Data?.LowerDir ?? "").split(":").filter(Boolean).length;
  return {
    ...image,
    GraphDriver: {
      Name: image.GraphDriver.Name,
      Keys: Object.keys(image.GraphDriver.Data ?? {}).sort(),
      layers,
    },
    Metadata: { LastTagTime: image.Metadata.LastTagTime.startsWith("0001") ? "never" : "some time" },
  };
}

const names = ["full:1", "localhost:5000/dir/full:2", "bare", "shares:1", "runs:1", "berth/busybox"];

describe("beside dockerd", () => {
  for (const name of names.slice(0, 5)) {
    test(`inspect ${name}`, async () => {
      const [ours, theirs] = await both<ImageInspect>("GET", `/images/${name}/json`);
      assert.deepEqual(comparable(ours), comparable(theirs));
      assert.deepEqual(Object.keys(ours).sort(), Object.keys(theirs).sort());
    });
  }

  test("inspect what lost its name", async () => {
    const [, theirs] = await both<ImageSummary[]>("GET", '/images/json?filters={"dangling":["true"]}');
    const [ours, same] = await both<ImageInspect>("GET", `/images/${theirs[0]?.Id}/json`);
    assert.deepEqual(comparable(ours), comparable(same));
  });

  const lists = [
    "",
    "?all=1",
    '?filters={"dangling":["true"]}',
    '?filters={"dangling":["false"]}',
    '?filters={"reference":["*"]}',
    '?filters={"reference":["*:1"]}',
    '?filters={"reference":["localhost:5000/*/full"]}',
    '?filters={"reference":["f??l","[r-t]*"]}',
    '?filters={"reference":["**"]}',
    '?filters={"label":["a=1"]}',
    '?filters={"label":["a","b=2"]}',
    '?filters={"label":["a","b=3"]}',
    '?filters={"before":["runs:1"]}',
    '?filters={"since":["shares:1"]}',
    '?filters={"since":["shares:1"],"before":["runs:1"]}',
    '?filters={"before":["nothing"]}',
    '?filters={"odd":["x"]}',
    '?filters={"dangling":["maybe"]}',
    '?filters={"reference":["["]}',
  ];
  for (const query of lists) {
    test(`list ${query}`, async () => {
      const [ours, theirs] = await both<ImageSummary[] | { message: string }>(
        "GET",
        `/images/json${encodeURI(query)}`,
      );
      if (!Array.isArray(ours) || !Array.isArray(theirs)) {
        assert.deepEqual(ours, theirs);
        return;
      }
      const sorted = (images: ImageSummary[]) =>
        images
          .filter(({ RepoTags }) => !RepoTags?.includes("berth/busybox:latest"))
          .map((image) => ({
            ...image,
            RepoTags: (image.RepoTags ?? []).sort(),
            RepoDigests: image.RepoDigests ?? [],
            // Newer ones tell nothing of a date that is not there.
            Created: Math.max(0, image.Created),
          }))
          .sort((a, b) => (a.Id < b.Id ? -1 : 1));
      assert.deepEqual(sorted(ours), sorted(theirs));
    });
  }

  test("history", async () => {
    for (const name of names.slice(0, 5)) {
      const [ours, theirs] = await both<object[]>("GET", `/images/${name}/history`);
      assert.deepEqual(ours, theirs);
    }
  });

  test("what cannot be removed, and in which order things go", async () => {
    for (const [docker, name] of [
      [(...args: string[]) => daemon.docker(...args), "berth"],
      [(...args: string[]) => dockerd.docker(args), "dockerd"],
    ] as const) {
      const made = docker("create", "--name", "stands", "--network", "none", "runs:1", "sleep", "100");
      assert.equal(made.code, 0, `${name}: ${JSON.stringify(made)}`);
    }
    const steps = [
      ["DELETE", "/images/runs:1"],
      ["DELETE", "/images/nothing"],
      ["DELETE", "/images/full"],
      ["DELETE", "/images/full:1"],
      ["POST", "/images/localhost:5000/dir/full:2/tag?repo=other&tag=3"],
      ["DELETE", `/images/${digestOf("x")}`],
      ["DELETE", "/images/BAD"],
    ];
    for (const [method = "", path = ""] of steps) {
      const [ours, theirs] = await both<unknown>(method, path);
      assert.deepEqual(withoutIds(ours), withoutIds(theirs), path);
    }
    const [full] = await both<ImageInspect>("GET", "/images/other:3/json");
    const [runs] = await both<ImageInspect>("GET", "/images/runs:1/json");
    const byId: [string, string][] = [
      ["DELETE", `/images/${full.Id}`],
      ["DELETE", `/images/${runs.Id.slice(7, 19)}`],
      ["DELETE", `/images/${full.Id}?force=1`],
      ["DELETE", "/images/runs:1?force=1"],
      ["GET", "/images/runs:1/json"],
      ["GET", `/images/${runs.Id}/json`],
    ];
    for (const [method, path] of byId) {
      const [ours, theirs] = await both<unknown>(method, path);
      assert.deepEqual(sortedNames(withoutIds(ours)), sortedNames(withoutIds(theirs)), path);
    }
  });

  test("prune takes what has no name, then all that is not used", async () => {
    for (const filters of [
      "",
      '?filters={"dangling":["false"],"until":["2026-01-01T12:00:00Z"]}',
      '?filters={"dangling":["false"]}',
    ]) {
      const [ours, theirs] = await both<{ ImagesDeleted: object[] | null; SpaceReclaimed: number }>(
        "POST",
        `/images/prune${encodeURI(filters)}`,
      );
      const items = (list: object[] | null) => list?.map((item) => JSON.stringify(item)).sort() ?? null;
      // dockerd has the busybox image, which its fixture needs.
      const known = (list: string[] | null) => list?.filter((item) => !item.includes("busybox")) ?? null;
      if (filters !== '?filters={"dangling":["false"]}') {
        assert.deepEqual(items(ours.ImagesDeleted), known(items(theirs.ImagesDeleted)));
        assert.equal(ours.SpaceReclaimed, theirs.SpaceReclaimed);
      } else {
        const deleted = (list: object[] | null) => known(items(list)) ?? [];
        for (const item of deleted(ours.ImagesDeleted))
          assert.ok(deleted(theirs.ImagesDeleted).includes(item), item);
      }
    }
    const bad = await both<unknown>("POST", `/images/prune?filters=${encodeURI('{"odd":["x"]}')}`);
    assert.deepEqual(bad[0], bad[1]);
  });
});

/** Containers have other ids in each engine. */
function withoutIds(answer: unknown): unknown {
  return JSON.parse(JSON.stringify(answer ?? null).replace(/container [0-9a-f]{12}/g, "container C"));
}

/** Of several names dockerd takes any first. */
function sortedNames(answer: unknown): unknown {
  if (!Array.isArray(answer)) return answer;
  const untagged = answer.filter((item) => "Untagged" in item);
  return [
    ...untagged.sort((a, b) => (a.Untagged < b.Untagged ? -1 : 1)),
    ...answer.filter((item) => !("Untagged" in item)),
  ];
}

interface Usage {
  LayersSize: number;
  Images: ImageSummary[];
  Containers: ContainerSummary[];
  Volumes: Volume[];
}

/** Lengths of all files and links, each once, as GNU find sees them. */
function measured(...directories: string[]): number {
  const found = execFileSync("find", [...directories, "!", "-type", "d", "-printf", "%D:%i %s\n"], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  const sizes = new Map(
    found
      .split("\n")
      .filter(Boolean)
      .map((line) => line.split(" ") as [string, string]),
  );
  return [...sizes.values()].reduce((sum, size) => sum + Number(size), 0);
}

test("disk usage is true to the byte", async () => {
  daemon.docker("rm", "-f", "stands");
  daemon.loadBusybox();
  const two = buildImage(
    [...(await builtBusybox()).layers, buildTar([{ type: "file", name: "f", content: "12345" }])],
    {
      os: "linux",
      architecture,
      config: { Env: ["PATH=/bin"] },
    },
  );
  daemon.dockerWith({ input: dockerArchive([{ image: two, tags: ["two:1"] }]) }, "load", "-q");
  const script =
    "head -c 54321 /dev/zero > /a; ln /a /b; ln -s /a /c; mkdir /d; rm /bin/vi; head -c 777 /dev/zero > /v/x";
  const ran = daemon.docker(
    "run",
    "--name",
    "wrote",
    "--network",
    "none",
    "-v",
    "named:/v",
    "-v",
    "/anonymous",
    "two:1",
    "sh",
    "-c",
    script,
  );
  assert.equal(ran.code, 0, ran.stderr);
  daemon.docker("create", "--name", "unused", "berth/busybox");
  const usage = JSON.parse((await daemon.api("GET", "/system/df")).body) as Usage;

  const inspect = async (path: string) => JSON.parse((await daemon.api("GET", path)).body) as ImageInspect;
  const layers = new Set<string>();
  for (const image of usage.Images) {
    const { GraphDriver } = await inspect(`/images/${image.Id}/json`);
    const { UpperDir = "", LowerDir = "" } = GraphDriver.Data ?? {};
    const own = [UpperDir, ...LowerDir.split(":")].filter(Boolean);
    assert.equal(
      image.Size,
      own.reduce((sum, directory) => sum + measured(directory), 0),
      image.RepoTags[0],
    );
    for (const directory of own) layers.add(directory);
  }
  assert.equal(
    usage.LayersSize,
    [...layers].reduce((sum, directory) => sum + measured(directory), 0),
  );
  const sharing = usage.Images.filter(({ RepoTags }) => /busybox|two/.test(RepoTags[0] ?? ""));
  assert.deepEqual(
    sharing
      .map(({ Size, SharedSize, Containers, RepoTags }) => [RepoTags[0], Size - SharedSize, Containers])
      .sort(),
    [
      ["berth/busybox:latest", 0, 1],
      ["two:1", 5, 1],
    ],
  );

  for (const container of usage.Containers) {
    const { GraphDriver } = await inspect(`/containers/${container.Id}/json`);
    const own = measured(GraphDriver.Data?.UpperDir ?? "");
    assert.equal(container.SizeRw, own);
    assert.equal(
      container.SizeRootFs,
      own + (usage.Images.find(({ Id }) => Id === container.ImageID)?.Size ?? 0),
    );
  }
  const wrote = usage.Containers.find(({ Names }) => Names[0] === "/wrote");
  assert.equal(wrote?.SizeRw, 54321 + "/a".length);
  for (const volume of usage.Volumes) {
    assert.equal(volume.UsageData?.Size, measured(volume.Mountpoint));
    assert.equal(volume.UsageData?.RefCount, 1);
  }
  assert.deepEqual(usage.Volumes.map(({ UsageData }) => UsageData?.Size).sort(), [0, 777]);
  assert.match(
    daemon.docker("ps", "-as", "--format", "{{.Names}} {{.Size}}").stdout,
    /wrote 54\.3kB \(virtual/,
  );

  const pruned = JSON.parse((await daemon.api("POST", "/containers/prune")).body);
  assert.equal(pruned.SpaceReclaimed, 54321 + "/a".length);
  assert.equal(pruned.ContainersDeleted.length, 2);
  const some = JSON.parse((await daemon.api("POST", "/volumes/prune")).body);
  assert.deepEqual([some.VolumesDeleted.length, some.SpaceReclaimed], [1, 0]);
  const all = JSON.parse(
    (await daemon.api("POST", `/volumes/prune?filters=${encodeURI('{"all":["1"]}')}`)).body,
  );
  assert.deepEqual([all.VolumesDeleted, all.SpaceReclaimed], [["named"], 777]);
});
