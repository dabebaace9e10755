/**
 * A container's layers as one finds them below the data root: what Berth leaves there after the same commands is what
 * Debian's dockerd leaves, file for file.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join, relative } from "node:path";
import { after, before, describe, test } from "node:test";
import { dockerArchive } from "#images/archive-build.ts";
import { getXattr } from "#kernel/xattr-syscalls.ts";
import { variedImage } from "#test/fixtures/varied-image.ts";
import { dockerCliMissing } from "./docker-cli.ts";
import { Side } from "./side.ts";

const skip = dockerCliMissing();

const changes = [
  "echo new >/made",
  "echo more >>/varied/file",
  "chmod 600 /varied/set-id",
  "rm /varied/sparse",
  "rm -r /varied/directory",
  "rm -r /varied/emptied && mkdir /varied/emptied && echo d >/varied/emptied/d",
  "mv /varied/fifo /varied/renamed",
  "mkdir -p /deep/er && ln /made /deep/link && ln -s nowhere /deep/symbolic",
].join(" && ");

describe("layers on disk", { skip }, () => {
  let sides: [Side, Side];
  before(async () => {
    sides = [await Side.dockerd(), await Side.berth(34)];
    const archive = dockerArchive([{ image: await variedImage(), tags: ["varied:1"] }]);
    for (const side of sides) {
      side.bytes(["load"], archive);
      const options = ["--name", "changed", "--hostname", "changed", "--network", "none"];
      side.docker("run", ...options, "varied:1", "sh", "-c", changes);
    }
  });
  after(async () => {
    for (const side of sides ?? []) await side[Symbol.asyncDispose]();
  });

  const upperOf = (side: Side) => side.docker("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "changed");
  const layerOf = (side: Side) => upperOf(side).split("/").at(-2) ?? "";
  const lowerOf = (side: Side) => readFileSync(join(side.layers, layerOf(side), "lower"), "utf8").split(":");
  const both = <T>(look: (side: Side) => T): T => {
    const [theirs, ours] = sides.map(look) as [T, T];
    assert.deepEqual(ours, theirs);
    return ours;
  };

  test("what a container wrote, changed and deleted is in its diff", () => {
    const lines = both((side) => tree(upperOf(side)));
    for (const line of [
      "made f 644 0:0 4",
      "varied/file f 644 0:0 21",
      "varied/sparse c 0 0:0 device 0,0",
      "varied/directory c 0 0:0 device 0,0",
      "varied/emptied d 755 0:0 opaque",
    ]) {
      assert.ok(lines.includes(line), `${line} in\n${lines.join("\n")}`);
    }
  });

  test("the init layer below it", () => {
    const lines = both((side) => tree(join(side.layers, `${layerOf(side)}-init`, "diff")));
    assert.ok(lines.some((line) => line.startsWith(".dockerenv f 755")));
  });

  test("the image's layers, whiteouts and opaque directories among them", () => {
    both((side) =>
      lowerOf(side)
        .slice(1)
        .map((link) => tree(join(side.layers, link))),
    );
  });

  test("link, lower, l/ and what else a layer's directory has", () => {
    for (const side of sides) {
      const layer = layerOf(side);
      const [init, ...image] = lowerOf(side).map((link) => readlinkSync(join(side.layers, link)));
      assert.equal(init, `../${layer}-init/diff`);
      assert.equal(image.length, 3);
      const link = readFileSync(join(side.layers, layer, "link"), "utf8");
      assert.equal(readlinkSync(join(side.layers, "l", link)), `../${layer}/diff`);
      assert.match(link, /^[A-Z2-7]{26}$/);
      const below = readFileSync(join(side.layers, `${layer}-init`, "lower"), "utf8").split(":");
      assert.deepEqual(below, lowerOf(side).slice(1));
      assert.equal(
        readdirSync(join(side.layers, "l")).length,
        readdirSync(side.layers).filter(isLayer).length,
      );
    }
    // dockerd makes the mount point for as long as something is mounted there.
    both((side) => entries(join(side.layers, layerOf(side))).filter((name) => name !== "merged"));
    both((side) => entries(join(side.layers, `${layerOf(side)}-init`)));
  });

  test("what inspect tells of them", () => {
    both((side) => {
      const { Name, Data } = JSON.parse(side.docker("inspect", "-f", "{{json .GraphDriver}}", "changed"));
      const layer = layerOf(side);
      const parts = Object.entries(Data as Record<string, string>).map(([key, value]) => [
        key,
        value.split(":").map((path) =>
          relative(side.layers, path)
            .replace(layer, "<layer>")
            .replace(/[0-9a-f-]{36,64}/, "<image>"),
        ),
      ]);
      return { Name, parts: parts.sort() };
    });
  });

  test("a layer goes with its container", async () => {
    for (const side of sides) {
      const before = readdirSync(side.layers).filter(isLayer).length;
      side.docker("rm", "changed");
      assert.equal(readdirSync(side.layers).filter(isLayer).length, before - 2, side.name);
      assert.equal(readdirSync(join(side.layers, "l")).length, before - 2, side.name);
    }
  });
});

const entries = (directory: string) => readdirSync(directory).sort();

const isLayer = (name: string) =>
  name !== "l" && !name.startsWith(".") && !name.includes("backingFsBlockDev");

/** Every file below `root`: kind, mode, owner, size, target, device, and whether it is opaque. */
function tree(root: string): string[] {
  const format = "%P\\t%y\\t%m\\t%U:%G\\t%s\\t%l\\n";
  return execFileSync("find", [`${root}/`, "-printf", format], { encoding: "utf8" })
    .trimEnd()
    .split("\n")
    .map((line) => {
      const [path = "", kind = "", mode, owner, size, target] = line.split("\t");
      const words = [path, kind, mode, owner];
      if (kind === "f") words.push(size);
      if (kind === "l") words.push(`→ ${target}`);
      if (kind === "c") {
        const device = execFileSync("stat", ["-c", "%t,%T", join(root, path)], { encoding: "utf8" });
        words.push(`device ${device.trim()}`);
      }
      if (kind === "d" && getXattr(join(root, path), "trusted.overlay.opaque") !== undefined)
        words.push("opaque");
      return words.join(" ");
    })
    .sort();
}
