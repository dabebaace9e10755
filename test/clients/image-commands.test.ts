/**
 * commit, diff, cp, history, save, load, import and export: the same words to Berth on overlay2, to Berth on vfs and to
 * Debian's dockerd, and the same answers but for ids and times.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { dockerArchive } from "#images/archive-build.ts";
import { variedImage } from "#test/fixtures/varied-image.ts";
import { dockerCliMissing } from "./docker-cli.ts";
import { Side } from "./side.ts";
import { TarListing } from "./tar-listing.ts";

const skip = dockerCliMissing();
const sides: Side[] = [];
const scratch = mkdtempSync(join(tmpdir(), "berth-commands-"));

before(async () => {
  if (skip !== false) return;
  // One by one: what has started is stopped even if the next one fails.
  sides.push(await Side.dockerd());
  sides.push(await Side.berth(32));
  sides.push(await Side.berth(33, "vfs"));
  const archive = dockerArchive([{ image: await variedImage(), tags: ["varied:1"] }]);
  for (const side of sides) {
    side.bytes(["load"], archive);
    // Everything that a comparison of layers can come upon.
    side.docker(
      "run",
      "--name",
      "changed",
      "--network",
      "none",
      "--hostname",
      "changed",
      "varied:1",
      "sh",
      "-c",
      changes,
    );
  }
});
after(async () => {
  for (const side of sides) await side[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true, force: true });
});

const changes = [
  "echo new >/varied/new",
  "echo more >>/varied/file",
  "rm /varied/sparse",
  "rm -r /varied/directory",
  "chmod 700 /varied/sticky",
  "rm -r /varied/emptied && mkdir /varied/emptied && echo d >/varied/emptied/d",
  "rm /varied/symlink && mkdir /varied/symlink",
  "mkdir -p /made/deep/er && touch /made/deep/er/file && ln /varied/new /made/link",
  "ln -s ../varied /made/symbolic && mkfifo /made/fifo",
  "chown 12:34 /varied/becomes-file",
  "echo x >/tmp/x && rm /tmp/x",
  "mv '/varied/ünïcodé ☃' /made/'ünïcodé ☃'",
].join(" && ");

const sorted = (lines: string) => lines.split("\n").sort().join("\n");

/** What differs from engine to engine and from run to run. */
function normal(text: string): string {
  return (
    text
      // What the client says of its own streams.
      .replace(/^time="[^"]*" level=.*\n/gm, "")
      .replace(/\b[0-9a-f]{64}\b/g, "<id>")
      .replace(/\b[0-9a-f]{12}\b/g, "<short>")
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)/g, "<time>")
      .replace(/(About|Less than)? ?(an?|\d+) (second|minute)s? ago/g, "<ago>")
  );
}

/** Asks all sides; Berth's must answer as dockerd does, in words, streams and exit code. */
function same(args: readonly string[], input?: Buffer | string): string {
  const answers = sides.map((side) => {
    const { code, stdout, stderr } = side.ask(args, input);
    return { code, stdout: normal(stdout.toString()), stderr: normal(stderr) };
  });
  for (const [index, side] of sides.entries()) {
    assert.deepEqual(answers[index], answers[0], `docker ${args.join(" ")}: ${side.name} beside dockerd`);
  }
  return answers[0]?.stdout ?? "";
}

/** Every side refuses, by the same exit code; the words are of the engine's inside. */
function refused(args: readonly string[], input?: Buffer | string): void {
  const answers = sides.map((side) => side.ask(args, input));
  for (const [index, side] of sides.entries()) {
    assert.equal(answers[index]?.code, answers[0]?.code, `docker ${args.join(" ")}: ${side.name}`);
    assert.match(answers[index]?.stderr ?? "", /^Error response from daemon: ./);
  }
}

/** The same entries, whatever their order. */
function sameListing(listings: readonly TarListing[], what: string): TarListing {
  const [reference] = listings as [TarListing];
  const expected = reference.lines();
  for (const [index, listing] of listings.entries()) {
    const found = listing.lines();
    const difference = {
      more: found.filter((line) => !expected.includes(line)),
      less: expected.filter((line) => !found.includes(line)),
      count: found.length,
    };
    assert.deepEqual(
      difference,
      { more: [], less: [], count: expected.length },
      `${what}: ${sides[index]?.name}`,
    );
  }
  return reference;
}

function sameArchive(args: readonly string[]): TarListing {
  return sameListing(
    sides.map((side) => new TarListing(side.bytes(args))),
    `docker ${args.join(" ")}`,
  );
}

describe("image commands", { skip }, () => {
  test("diff", () => {
    // dockerd walks its tree in random order.
    const [told = "", ...others] = sides.map((side) => sorted(side.docker("diff", "changed")));
    for (const other of others) assert.equal(other, told);
    for (const line of ["A /varied/new", "C /varied/file", "D /varied/sparse", "D /varied/directory"])
      assert.ok(told.split("\n").includes(line), `${line} in ${told}`);
    assert.doesNotMatch(told, /dockerenv|resolv.conf|\/dev|\/proc/);
  });

  test("diff of a container that did nothing, and of one that is not there", () => {
    for (const side of sides) side.docker("create", "--name", "idle", "varied:1");
    assert.equal(same(["diff", "idle"]), "");
    same(["diff", "nobody"]);
    for (const side of sides) side.docker("rm", "idle");
  });

  test("cp out: files, directories, links, into files, directories and streams", () => {
    for (const path of [
      "/varied/file",
      "/varied",
      "/varied/.",
      "/varied/dangling",
      "/made/symbolic",
      "/etc/passwd",
    ])
      sameArchive(["cp", `changed:${path}`, "-"]);
    sameArchive(["cp", "-L", "changed:/made/symbolic", "-"]);
    same(["cp", "changed:/nowhere", "-"]);
    refused(["cp", "changed:/etc/passwd/", "-"]);
    same(["cp", "nobody:/etc", "-"]);
    for (const [index, side] of sides.entries()) {
      const target = join(scratch, `out-${index}`);
      mkdirSync(target);
      side.docker("cp", "changed:/varied/new", target);
      side.docker("cp", "changed:/varied/new", join(target, "renamed"));
      side.docker("cp", "-a", "changed:/varied/emptied", join(target, "whole"));
      side.docker("cp", "-q", "changed:/varied/emptied/.", target);
      const found = execFileSync("find", [target, "-printf", "%P %y %m %U %G %s\n"], { encoding: "utf8" });
      writeFileSync(
        join(scratch, `found-${index}`),
        found
          .split("\n")
          .filter((line) => line[0] !== " ")
          .sort()
          .join("\n"),
      );
      assert.equal(
        readFileSync(join(scratch, `found-${index}`), "utf8"),
        readFileSync(join(scratch, "found-0"), "utf8"),
      );
      assert.equal(statSync(join(target, "whole/d")).size, 2);
    }
  });

  test("cp in: over files, into directories and links, from streams, and what is refused", () => {
    const source = join(scratch, "in");
    mkdirSync(join(source, "tree/below"), { recursive: true });
    writeFileSync(join(source, "tree/below/file"), "from outside\n", { mode: 0o640 });
    symlinkSync("file", join(source, "tree/below/link"));
    for (const side of sides) side.docker("create", "--name", "in", "varied:1");
    same(["cp", join(source, "tree"), "in:/varied/"]);
    same(["cp", join(source, "tree"), "in:/varied/renamed"]);
    same(["cp", `${join(source, "tree")}/.`, "in:/varied/symlink"]);
    same(["cp", join(source, "tree/below/file"), "in:/varied/file"]);
    same(["cp", "-a", join(source, "tree/below/file"), "in:/varied/set-id"]);
    same(["cp", "-L", join(source, "tree/below/link"), "in:/varied/followed"]);
    const archive = execFileSync("tar", ["-C", source, "--owner=77", "--group=88", "-c", "tree"]);
    same(["cp", "-", "in:/varied/sticky"], archive);
    same(["cp", "-", "in:/varied/file"], archive);
    same(["cp", "-", "in:/varied/nowhere"], archive);
    refused(["cp", "-", "in:/varied/sticky"], "no archive at all");
    same(["cp", join(source, "tree"), "in:/varied/file"]);
    same(["cp", join(source, "tree/below/file"), "in:/varied/nowhere/"]);
    same(["cp", join(source, "tree/below/file"), "in:/varied/none/at/all"]);
    same(["cp", join(source, "absent"), "in:/varied"]);
    const [told, ...others] = sides.map((side) => sorted(side.docker("diff", "in")));
    for (const other of others) assert.equal(other, told);
    sameArchive(["cp", "in:/varied", "-"]);
    for (const side of sides) side.docker("rm", "in");
  });

  test("commit: its configuration, history and layer", () => {
    for (const side of sides) {
      const id = side.docker(
        "commit",
        "-a",
        "An Author",
        "-m",
        "a message",
        "-c",
        "ENV MORE=1",
        "-c",
        'CMD ["true"]',
        "changed",
        "made:1",
      );
      assert.match(id, /^sha256:[0-9a-f]{64}$/);
    }
    same(["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Size}}|{{.Comment}}", "made:1"]);
    const of =
      "{{json .Config.Env}} {{json .Config.Cmd}} {{json .Config.Labels}} {{.Author}} {{.Comment}} {{.Os}} {{len .RootFS.Layers}}";
    same(["image", "inspect", "-f", of, "made:1"]);
    const layers = sides.map((side) => topLayer(side.bytes(["save", "made:1"])));
    // vfs has no opaque directories: every name that is gone has its own whiteout.
    sameListing(layers.slice(0, 2), "top layer");
    assert.ok(layers[2]?.names().includes("varied/emptied/.wh.c"));
    for (const layer of layers) assertTopLayer(layer);
    for (const line of ["cat /varied/file", "ls -a /varied /varied/emptied /made", "printenv MORE"])
      same(["run", "--rm", "--network", "none", "made:1", "sh", "-c", line]);
    same(["commit", "nobody", "x:1"]);
    same(["commit", "changed", "Not/Valid"]);
    same(["commit", "-c", "FROM x", "changed", "x:1"]);
  });

  test("history of an image with empty layers", () => {
    same([
      "history",
      "--no-trunc",
      "--format",
      "{{.CreatedBy}}|{{.Size}}|{{.Comment}}|{{.CreatedAt}}",
      "varied:1",
    ]);
    same(["history", "-q", "varied:1"]);
    same(["history", "nothing:1"]);
  });

  test("save | load: the same image under the same names", () => {
    for (const side of sides) {
      side.docker("tag", "varied:1", "another/name:2");
      const before = side.identity("varied:1");
      const archive = side.bytes(["save", "varied:1", "another/name:2"]);
      side.docker("rmi", "another/name:2");
      side.bytes(["load"], archive);
      assert.deepEqual(side.identity("another/name:2"), before);
      side.docker("rmi", "another/name:2");
    }
    same(["save", "nothing:1"]);
    same(["save", "varied:1", "nothing:1"]);
  });

  test("export, and import of what was exported", () => {
    const exported = sameArchive(["export", "changed"]);
    assert.ok(exported.names().includes(".dockerenv"));
    assert.equal(
      exported.names().some((name) => name.includes(".wh.")),
      false,
    );
    const archive = (sides[0] as Side).bytes(["export", "changed"]);
    for (const side of sides) {
      const id = side.bytes(
        ["import", "-m", "brought in", "-c", "ENV A=b", "-c", 'ENTRYPOINT ["sh"]', "-", "brought:1"],
        archive,
      );
      assert.match(id.toString(), /^sha256:[0-9a-f]{64}\n$/);
    }
    const of =
      "{{json .Config.Env}} {{json .Config.Entrypoint}} {{.Comment}} {{.Os}} {{json .RootFS.Layers}}";
    // The layer is the archive itself, so its diff id is the same everywhere.
    assert.equal(
      new Set(sides.map((side) => side.docker("image", "inspect", "-f", of, "brought:1"))).size,
      1,
    );
    same(["history", "--format", "{{.CreatedBy}}|{{.Size}}|{{.Comment}}", "brought:1"]);
    same(["run", "--rm", "--network", "none", "brought:1", "-c", "cat /varied/file; ls -ln /varied"]);
    same(["export", "nobody"]);
  });
});

/** What the container did and nothing that the engine put into it. */
function assertTopLayer(layer: TarListing): void {
  const names = layer.names();
  for (const name of ["varied/.wh.sparse", "varied/.wh.directory", "varied/new", "made/deep/er/file"])
    assert.ok(names.includes(name), `${name} in ${names.join(" ")}`);
  assert.deepEqual(
    names.filter((name) => /dockerenv|resolv.conf|hostname|^dev/.test(name)),
    [],
  );
}

/** Of a docker-archive: the last layer of its only image. */
function topLayer(archive: Buffer): TarListing {
  const directory = mkdtempSync(join(scratch, "saved-"));
  execFileSync("tar", ["-x", "-C", directory], { input: archive });
  const [image] = JSON.parse(readFileSync(join(directory, "manifest.json"), "utf8")) as [
    { Layers: string[] },
  ];
  return new TarListing(readFileSync(join(directory, image.Layers.at(-1) ?? "")));
}
