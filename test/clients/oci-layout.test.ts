/**
 * OCI image layouts between Berth and umoci: what umoci makes from nothing is loaded and runs; what Berth saves is
 * unpacked by umoci, changed, packed again and comes back as the same image with one layer more.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { buildImage, buildTar, dockerArchive } from "#images/archive-build.ts";
import { hostPlatform } from "#images/platform.ts";
import { builtBusybox } from "#test/fixtures/busybox-image.ts";
import { dockerCliMissing } from "./docker-cli.ts";
import { Side } from "./side.ts";

const skip = dockerCliMissing() || (!existsSync("/usr/bin/umoci") && "umoci is not installed");
let berth: Side;
let directory: string;
before(async () => {
  if (skip !== false) return;
  directory = mkdtempSync(join(tmpdir(), "berth-layout-"));
  berth = await Side.berth(37);
  berth.bytes(["load"], dockerArchive([{ image: await builtBusybox(), tags: ["base:1"] }]));
});
after(async () => {
  await berth?.[Symbol.asyncDispose]();
  if (directory) rmSync(directory, { recursive: true, force: true });
});

const umoci = (...args: string[]) => execFileSync("umoci", args, { cwd: directory, encoding: "utf8" });
const packed = (layout: string) =>
  execFileSync("tar", ["-C", join(directory, layout), "-c", "."], { maxBuffer: 1 << 30 });
const unpacked = (archive: Buffer, layout: string) => {
  mkdirSync(join(directory, layout));
  execFileSync("tar", ["-C", join(directory, layout), "-x"], { input: archive });
};
const loadedId = (output: Buffer) => /sha256:[0-9a-f]{64}/.exec(output.toString())?.[0] ?? "";

test("an image umoci made from nothing is loaded and runs", { skip }, () => {
  umoci("init", "--layout", "new");
  umoci("new", "--image", "new:first");
  umoci("unpack", "--image", "new:first", "new-bundle");
  const root = join(directory, "new-bundle/rootfs");
  mkdirSync(join(root, "bin"));
  execFileSync("cp", ["/bin/busybox", join(root, "bin/busybox")]);
  writeFileSync(join(root, "note"), "by umoci\n");
  execFileSync("chown", ["7:8", join(root, "note")]);
  umoci("repack", "--image", "new:first", "new-bundle");
  umoci("config", "--image", "new:first", "--config.entrypoint", "/bin/busybox", "--config.env", "MADE=here");
  const id = loadedId(berth.bytes(["load"], packed("new")));
  const run = (...args: string[]) => berth.docker("run", "--rm", "--network", "none", id, ...args);
  assert.equal(run("cat", "/note"), "by umoci");
  assert.equal(run("stat", "-c", "%u:%g", "/note"), "7:8");
  assert.match(run("env"), /^MADE=here$/m);
});

test("an image Berth saved is unpacked by umoci, repacked, and comes back with one layer more", {
  skip,
}, () => {
  berth.docker(
    "run",
    "--name",
    "made",
    "--network",
    "none",
    "base:1",
    "sh",
    "-c",
    "echo one >/one; rm /bin/vi",
  );
  berth.docker("commit", "-c", "ENV WAY=there", "made", "travel:1");
  berth.docker("rm", "made");
  const before = berth.identity("travel:1");
  unpacked(berth.bytes(["save", "travel:1"]), "saved");
  const { manifests } = JSON.parse(readFileSync(join(directory, "saved/index.json"), "utf8"));
  const tag = manifests[0].annotations["org.opencontainers.image.ref.name"] as string;
  assert.match(umoci("ls", "--layout", "saved"), new RegExp(`^${tag}$`, "m"));
  umoci("unpack", "--image", `saved:${tag}`, "bundle");
  const root = join(directory, "bundle/rootfs");
  assert.equal(readFileSync(join(root, "one"), "utf8"), "one\n");
  assert.ok(!existsSync(join(root, "bin/vi")));
  assert.equal(lstatSync(join(root, "bin/busybox")).mode & 0o7777, 0o755);
  assert.match(readFileSync(join(directory, "bundle/config.json"), "utf8"), /WAY=there/);
  rmSync(join(root, "one"));
  writeFileSync(join(root, "two"), "two\n");
  umoci("repack", "--image", `saved:${tag}`, "bundle");
  // What a later docker writes beside the layout still tells of the image as it was.
  rmSync(join(directory, "saved/manifest.json"), { force: true });
  berth.bytes(["load"], packed("saved"));
  const after = berth.identity("travel:1");
  assert.notEqual(after.id, before.id);
  assert.deepEqual(after.layers.slice(0, -1), before.layers);
  const seen = berth.docker(
    "run",
    "--rm",
    "--network",
    "none",
    "travel:1",
    "sh",
    "-c",
    "cat /two; ls /one /bin/vi; echo $WAY",
  );
  assert.equal(seen, "two\nthere");
});

test("an index of manifests for other machines only, and one without any", { skip }, () => {
  const other = hostPlatform().architecture === "s390x" ? "ppc64le" : "s390x";
  const foreign = buildImage([buildTar([{ type: "file", name: "f", content: Buffer.from("x") }])], {
    architecture: other,
    os: "linux",
  });
  berth.bytes(["load"], dockerArchive([{ image: foreign, tags: ["foreign:1"] }]));
  unpacked(berth.bytes(["save", "foreign:1"]), "foreign");
  rmSync(join(directory, "foreign/manifest.json"), { force: true });
  berth.docker("rmi", "foreign:1");
  const index = JSON.parse(readFileSync(join(directory, "foreign/index.json"), "utf8"));
  index.manifests[0].platform = { os: "linux", architecture: other };
  writeFileSync(join(directory, "foreign/index.json"), JSON.stringify(index));
  const refused = berth.ask(["load"], packed("foreign"));
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /no image for this machine's platform/);
  writeFileSync(join(directory, "foreign/index.json"), JSON.stringify({ ...index, manifests: [] }));
  assert.notEqual(berth.ask(["load"], packed("foreign")).code, 0);
  assert.ok(!berth.docker("images", "-aq", "--no-trunc").includes(foreign.id));
});
