import assert from "node:assert/strict";
import { test } from "node:test";
import type { ImageInspect, ImageSummary } from "#api-types/image.ts";
import { imageInspect, imageSummary } from "./image-answers.ts";
import { negotiate } from "./versions.ts";

const summary: ImageSummary = {
  Id: "sha256:1",
  ParentId: "",
  RepoTags: [],
  RepoDigests: [],
  Created: 1,
  Size: 7,
  SharedSize: -1,
  Labels: null,
  Containers: -1,
};

const inspect: ImageInspect = {
  Id: "sha256:1",
  RepoTags: [],
  RepoDigests: [],
  Parent: "",
  Comment: "",
  DockerVersion: "",
  Author: "",
  Config: { Cmd: ["sh"], Env: [], Hostname: "h", Labels: {} },
  Architecture: "amd64",
  Os: "linux",
  Size: 7,
  GraphDriver: { Name: "overlay2", Data: {} },
  RootFS: { Type: "layers", Layers: [] },
  Metadata: { LastTagTime: "0001-01-01T00:00:00Z" },
};

test("an image without a name", () => {
  assert.deepEqual(imageSummary(summary, negotiate("1.42")).RepoTags, ["<none>:<none>"]);
  assert.deepEqual(imageSummary(summary, negotiate("1.42")).RepoDigests, ["<none>@<none>"]);
  assert.deepEqual(imageSummary(summary, negotiate("1.43")).RepoTags, []);
  const named = { ...summary, RepoDigests: ["x@sha256:2"] };
  assert.deepEqual(imageSummary(named, negotiate("1.42")).RepoTags, []);
});

test("the virtual size", () => {
  assert.equal(imageSummary(summary, negotiate("1.43")).VirtualSize, 7);
  assert.equal("VirtualSize" in imageSummary(summary, negotiate("1.44")), false);
  assert.equal(imageInspect(inspect, negotiate("1.43")).VirtualSize, 7);
  assert.equal("VirtualSize" in imageInspect(inspect, negotiate("1.44")), false);
});

test("an image without a date", () => {
  assert.equal(imageInspect(inspect, negotiate("1.43")).Created, "0001-01-01T00:00:00Z");
  assert.equal("Created" in imageInspect(inspect, negotiate("1.44")), false);
  const dated = { ...inspect, Created: "2026-01-01T00:00:00Z" };
  assert.equal(imageInspect(dated, negotiate("1.51")).Created, "2026-01-01T00:00:00Z");
});

test("the configuration: all that a container's has, then only what the specification knows and is set", () => {
  const old = imageInspect(inspect, negotiate("1.49")).Config as Record<string, unknown>;
  assert.equal(old.Hostname, "h");
  assert.equal(old.AttachStdin, false);
  assert.equal(old.Entrypoint, null);
  assert.deepEqual(old.Env, []);
  assert.equal("ExposedPorts" in old, false);
  assert.deepEqual(imageInspect(inspect, negotiate("1.50")).Config, { Cmd: ["sh"] });
});

test("the container it was committed from", () => {
  const committed = { ...inspect, Container: "abc", ContainerConfig: { Cmd: ["sh", "-c", "x"] } };
  const old = imageInspect(committed, negotiate("1.44"));
  assert.equal(old.Container, "abc");
  assert.deepEqual((old.ContainerConfig as { Cmd: string[] }).Cmd, ["sh", "-c", "x"]);
  assert.equal("Container" in imageInspect(committed, negotiate("1.45")), false);
  assert.equal("ContainerConfig" in imageInspect(committed, negotiate("1.45")), false);
});
