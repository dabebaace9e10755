/** An image of 100 layers, each over the one before: everything that can be done with an image, by the real command line. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { type BuiltImage, buildImage, buildTar } from "#images/archive-build.ts";
import { builtBusybox } from "#test/fixtures/busybox-image.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";
import { dockerCliMissing } from "./docker-cli.ts";
import { Side } from "./side.ts";
import { TarListing } from "./tar-listing.ts";

const COUNT = 100;
const skip = dockerCliMissing();

/** Each layer counts on in one file, brings one of its own and takes away the one of the layer before. */
async function deepImage(): Promise<BuiltImage> {
  const busybox = await builtBusybox();
  const layers = Array.from({ length: COUNT - 1 }, (_, index) =>
    buildTar([
      { type: "directory", name: "deep" },
      { type: "file", name: "deep/count", content: `${index + 1}\n` },
      { type: "file", name: `deep/own-${index}`, content: String(index) },
      ...(index === 0 ? [] : [{ type: "file", name: `deep/.wh.own-${index - 1}` } as const]),
    ]),
  );
  return buildImage([...busybox.layers, ...layers], {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Env: ["PATH=/usr/bin:/bin"], Cmd: ["sh"] },
    history: Array.from({ length: COUNT }, (_, index) => ({ created_by: `layer ${index}` })),
  });
}

for (const driver of ["overlay2", "vfs"] as const) {
  describe(`${COUNT} layers on ${driver}`, { skip }, () => {
    let side: Side;
    let registry: TestRegistry;
    let image: BuiltImage;
    let name: string;
    before(async () => {
      registry = await TestRegistry.start();
      side = await Side.berth(driver === "vfs" ? 36 : 35, driver);
      image = await deepImage();
      await registry.push("deep", "1", image);
      name = `${registry.host}/deep:1`;
    });
    after(async () => {
      await side?.[Symbol.asyncDispose]();
      await registry?.stop();
    });

    const look = (of: string) =>
      side.docker("run", "--rm", "--network", "none", of, "sh", "-c", "ls /deep; cat /deep/count");
    const whole = `count\nown-${COUNT - 2}\n${COUNT - 1}`;

    test("pull and run", () => {
      side.docker("pull", name);
      assert.equal(side.identity(name).id, image.id);
      assert.equal(side.identity(name).layers.length, COUNT);
      assert.equal(look(name), whole);
    });

    test("history has a line for each", () => {
      const lines = side.docker("history", "--format", "{{.CreatedBy}}", name).split("\n");
      assert.equal(lines.length, COUNT);
      assert.equal(lines[0], `layer ${COUNT - 1}`);
    });

    test("commit puts one on top", () => {
      side.docker("run", "--name", "more", "--network", "none", name, "sh", "-c", "echo 100 >/deep/count");
      side.docker("commit", "more", "more:1");
      assert.deepEqual(side.identity("more:1").layers.slice(0, COUNT), side.identity(name).layers);
      assert.equal(side.identity("more:1").layers.length, COUNT + 1);
      assert.match(look("more:1"), /\n100$/);
      const exported = new TarListing(side.bytes(["export", "more"])).names();
      assert.deepEqual(exported.filter((entry) => entry.startsWith("deep/")).sort(), [
        "deep/count",
        `deep/own-${COUNT - 2}`,
      ]);
      side.docker("rm", "more");
    });

    test("push, and pull again", () => {
      const pushed = `${registry.host}/deeper:1`;
      const identity = side.identity("more:1");
      side.docker("tag", "more:1", pushed);
      side.docker("push", "-q", pushed);
      side.docker("rmi", "more:1", pushed);
      side.docker("pull", "-q", pushed);
      assert.deepEqual(side.identity(pushed), identity);
      side.docker("rmi", pushed);
    });

    test("save, remove and load", async () => {
      const identity = side.identity(name);
      const archive = side.bytes(["save", name]);
      side.docker("rmi", name);
      await assertEmpty(side);
      side.bytes(["load"], archive);
      assert.deepEqual(side.identity(name), identity);
      assert.equal(look(name), whole);
    });

    test("remove: nothing is left", async () => {
      side.docker("rmi", name);
      assert.equal(side.docker("images", "-aq"), "");
      await assertEmpty(side);
    });
  });
}

/** Directories of layers go behind the answer; the driver's own stay, empty. */
function assertEmpty(side: Side): Promise<void> {
  return eventually(() => {
    const left = readdirSync(side.layers, { recursive: true, encoding: "utf8" });
    assert.deepEqual(
      left.filter((path) => !["l", "dir", "layouts", "parents"].includes(path)),
      [],
    );
  });
}
