/**
 * The same work on every storage driver gives the same answers: what is done, what is asked, and that the engines agree. Who
 * calls it says which engines there are; each has one driver, and nothing in it.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { test } from "node:test";
import { eventually } from "#test/fixtures/eventually.ts";

/** What of a daemon is asked here (daemon.ts). */
export interface AnsweringEngine {
  dataRoot: string;
  /** The docker command line's. */
  environment: NodeJS.ProcessEnv;
  loadBusybox(): void;
  /** The docker command line's output, trimmed; fails the test where it fails. */
  ok(...args: string[]): string;
}

const image = "berth/busybox";

const work = [
  "mkdir -p /new/deep && echo 1 > /new/deep/file && ln /new/deep/file /new/hard && ln -s deep /new/soft",
  "rm /etc/group && chmod 0700 /home && echo more >> /etc/passwd",
  "rm -rf /var/*; touch /var/kept; rm -rf /root; mknod /new/null c 1 3; chown 5:6 /new/deep",
  // Without times of now, two runs leave the same.
  "find /new /home /var /etc/passwd -exec touch -h -d '2020-01-01 00:00:00' {} +; touch -d '2020-01-01 00:00:00' /etc /",
].join("; ");

/** Steps of a build, each in a layer of its own: what one makes the next changes, hides, and makes anew. */
const steps = [
  "mkdir -p /app/lib/old && seq 1 500 >/app/lib/old/a && echo 1 >/app/version && cp /app/version /app/same",
  "rm -rf /app/lib && mkdir -p /app/lib/new && echo b >/app/lib/new/b && echo 2 >>/app/version && mv /app/same /app/moved",
  "rm -r /app/lib/new && echo file >/app/lib/new && chmod 4711 /app/moved && rm /etc/shadow && mkdir /etc/shadow && chown 7:8 /app",
];

/** Where a container's own layer is below the data root, and what is there of a name it deleted. */
interface WalkThrough {
  layer: (id: string) => string;
  deleted: (path: string) => void;
  /** It is there only while the container runs. */
  mounted?: true;
}

const isGone = (path: string) => assert.ok(!existsSync(path), path);

const walkThroughs: Record<string, WalkThrough> = {
  overlay2: {
    layer: (id) => `overlay2/${id}/diff`,
    deleted: (path) => {
      const { rdev, mode } = lstatSync(path);
      assert.deepEqual([mode & 0o170000, rdev], [0o020000, 0], "a device 0/0");
    },
  },
  aufs: {
    layer: (id) => `aufs/diff/${id}`,
    deleted: (path) => {
      isGone(path);
      const { size, mode } = lstatSync(join(dirname(path), `.wh.${basename(path)}`));
      assert.deepEqual([mode & 0o170000, size], [0o100000, 0], "an empty file");
    },
  },
  vfs: { layer: (id) => `vfs/dir/${id}`, deleted: isGone },
  btrfs: { layer: (id) => `btrfs/subvolumes/${id}`, deleted: isGone },
  devicemapper: { layer: (id) => `devicemapper/mnt/${id}/rootfs`, deleted: isGone, mounted: true },
};

/** Loads the image into each, and lets the container `work` do its work there. */
export function prepareSameAnswers(engines: ReadonlyMap<string, AnsweringEngine>): void {
  for (const engine of engines.values()) {
    engine.loadBusybox();
    engine.ok("run", "--name", "work", "--network", "none", image, "sh", "-c", work);
  }
}

/** Tests that build on each other. `engines`: by driver; filled before the first test, and prepared by `prepareSameAnswers`. */
export function testSameAnswers(engines: ReadonlyMap<string, AnsweringEngine>): void {
  /** What every driver answers; they must be alike. */
  const same = (answer: (engine: AnsweringEngine) => string): string => {
    const [first, ...others] = [...engines].map(([driver, engine]) => ({ driver, said: answer(engine) }));
    assert.ok(first !== undefined && others.length > 0);
    for (const { driver, said } of others) assert.equal(said, first.said, `${driver} and ${first.driver}`);
    return first.said;
  };
  const run = (engine: AnsweringEngine, from: string, script: string) =>
    engine.ok("run", "--rm", "--network", "none", from, "sh", "-c", script);

  test("each says its name", () => {
    for (const [driver, engine] of engines) {
      assert.equal(engine.ok("info", "--format", "{{.Driver}}"), driver);
      assert.equal(engine.ok("inspect", "--format", "{{.GraphDriver.Name}}", "work"), driver);
      assert.equal(engine.ok("image", "inspect", "--format", "{{.GraphDriver.Name}}", image), driver);
    }
  });

  test("a container's files are in its layer, what it changed as a copy, what it deleted as a mark or not at all", async () => {
    for (const [driver, engine] of engines) {
      const { layer, deleted, mounted } = walkThroughs[driver] as WalkThrough;
      const started: string[] = [];
      const start = (script: string) => {
        const name = `walk-${started.length}`;
        started.push(name);
        engine.ok("run", "-d", "--name", name, "--network", "none", image, "sh", "-c", `${script}; sleep 1d`);
        return name;
      };
      const name = mounted ? start(`${work}; touch /done`) : "work";
      // Another one of the image shows what that is like.
      if (mounted) start(":");
      const own = join(engine.dataRoot, layer(engine.ok("inspect", "-f", "{{.Id}}", name)));
      if (mounted) await eventually(() => assert.ok(existsSync(join(own, "done"))));
      assert.equal(readFileSync(join(own, "new/deep/file"), "utf8"), "1\n", driver);
      assert.match(readFileSync(join(own, "etc/passwd"), "utf8"), /\nmore\n$/, driver);
      deleted(join(own, "etc/group"));
      // Of all the layers that have the file, this one alone has the change: the image is untouched.
      const search = [engine.dataRoot, "-path", "*/etc/passwd", "-not", "-path", `${own}/*`];
      const others = execFileSync("find", search, { encoding: "utf8" }).trim().split("\n");
      for (const path of others) assert.doesNotMatch(readFileSync(path, "utf8"), /more/, path);
      if (started.length > 0) engine.ok("rm", "-f", ...started);
    }
    same((engine) => run(engine, image, "cat /etc/passwd /etc/group"));
  });

  test("docker diff", () => {
    const changes = same((engine) => lines(engine.ok("diff", "work"))).split("\n");
    const expected = ["A /new", "A /new/deep/file", "D /etc/group", "C /etc/passwd", "C /home", "D /root"];
    for (const change of expected) assert.ok(changes.includes(change), `${change} in\n${changes.join("\n")}`);
    assert.doesNotMatch(changes.join("\n"), /\.dockerenv|hosts|resolv/);
  });

  test("docker export and cp", () => {
    const all = same((engine) => list(archive(engine, "export", "work")));
    assert.match(all, /new\/deep\/file/);
    assert.doesNotMatch(all, /etc\/group/);
    same((engine) => list(archive(engine, "cp", "work:/new", "-")));
  });

  test("docker commit: the layer, its size, the history", () => {
    same((engine) => {
      engine.ok("commit", "work", "committed:1");
      const saved = archive(engine, "save", "committed:1");
      const file = (path: string) =>
        execFileSync("tar", ["-xOf", "-", path], { input: saved, maxBuffer: 1 << 28 });
      const top = list(file(JSON.parse(file("manifest.json").toString())[0].Layers.at(-1)));
      const size = engine.ok("image", "inspect", "-f", "{{.Size}}", "committed:1");
      const format = ["--no-trunc", "--format", "{{.CreatedBy}} {{.Size}}"];
      const history = engine.ok("history", ...format, "committed:1");
      return JSON.stringify([top, size, history]);
    });
    const script =
      "cat /new/hard /etc/passwd; find /new /home /var | sort | xargs stat -c '%A %u %g %Y %N'; stat -c '%h %u %g %a' /new/hard; ls /etc/group 2>&1; true";
    same((engine) => run(engine, "committed:1", script));
  });

  test("layer upon layer, as a build makes them", () => {
    // How a layer says that a directory was replaced is its driver's; what comes of it is not.
    const look =
      "find /app /new /etc/shadow | sort | xargs stat -c '%A %u %g %N'; cat /app/version /app/moved /app/lib/new";
    const seen = same((engine) => {
      let from = "committed:1";
      for (const [index, step] of steps.entries()) {
        engine.ok("run", "--name", "step", "--network", "none", from, "sh", "-ec", step);
        from = `built:${index}`;
        engine.ok("commit", "step", from);
        engine.ok("rm", "step");
      }
      const layers = engine.ok("image", "inspect", "-f", "{{len .RootFS.Layers}}", from);
      return `${layers} ${run(engine, from, look)}`;
    });
    assert.match(seen, /^5 (.|\n)*\n1\n2\n1\nfile$/);
  });

  test("an image goes from one to the other and back, the same", () => {
    const [first, ...others] = engines.values();
    assert.ok(first !== undefined);
    const name = `built:${steps.length - 1}`;
    const id = (engine: AnsweringEngine) => engine.ok("image", "inspect", "-f", "{{.Id}}", name);
    const load = (engine: AnsweringEngine, input: Buffer) =>
      execFileSync("docker", ["load"], { input, env: engine.environment });
    const original = id(first);
    for (const other of others) {
      other.ok("rmi", name);
      load(other, archive(first, "save", name));
      assert.equal(id(other), original);
      first.ok("rmi", name);
      load(first, archive(other, "save", name));
      assert.equal(id(first), original);
    }
    assert.equal(
      same((engine) => run(engine, name, "cat /new/soft/file /app/version")),
      "1\n1\n2",
    );
  });

  test("docker ps --size", () => {
    same((engine) => engine.ok("ps", "-as", "--filter", "name=work", "--format", "{{.Size}}"));
  });
}

const lines = (text: string) => text.trim().split("\n").sort().join("\n");

/** What is in an archive, without the times, some of which are of now. */
function list(archive: Buffer): string {
  const text = execFileSync("tar", ["--numeric-owner", "-tvf", "-"], { input: archive, encoding: "utf8" });
  return lines(text.replace(/ \d{4}-\d\d-\d\d \d\d:\d\d /g, " "));
}

function archive(engine: AnsweringEngine, ...args: string[]): Buffer {
  return execFileSync("docker", args, { env: engine.environment, maxBuffer: 1 << 28 });
}
