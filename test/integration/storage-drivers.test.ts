/** The same work on every storage driver gives the same answers; a data root keeps its driver. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";

const drivers = ["overlay2", "vfs"];

describe("storage drivers beside each other", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  const daemons = new Map<string, TestDaemon>();
  before(async () => {
    for (const [index, driver] of drivers.entries()) {
      const daemon = await TestDaemon.start({ flags: ["-s", driver], subnet: 79 + index });
      daemons.set(driver, daemon);
      daemon.loadBusybox();
      docker(daemon, "run", "--name", "work", "--network", "none", "berth/busybox", "sh", "-c", work);
    }
  });
  after(async () => {
    for (const daemon of daemons.values()) await daemon.stop();
  });

  const work = [
    "mkdir -p /new/deep && echo 1 > /new/deep/file && ln /new/deep/file /new/hard && ln -s deep /new/soft",
    "rm /etc/group && chmod 0700 /home && echo more >> /etc/passwd",
    "rm -rf /var/*; touch /var/kept; rm -rf /root; mknod /new/null c 1 3; chown 5:6 /new/deep",
    // Without times of now, two runs leave the same.
    "find /new /home /var /etc/passwd -exec touch -h -d '2020-01-01 00:00:00' {} +; touch -d '2020-01-01 00:00:00' /etc /",
  ].join("; ");

  const docker = (daemon: TestDaemon, ...args: string[]): string => {
    const ran = daemon.docker(...args);
    assert.equal(ran.code, 0, `docker ${args.join(" ")}: ${ran.stderr}`);
    return ran.stdout;
  };
  /** What every driver answers; they must be alike. */
  const same = (answer: (daemon: TestDaemon) => string): string => {
    const [first = "", ...others] = drivers.map((driver) => answer(daemons.get(driver) as TestDaemon));
    for (const [index, other] of others.entries()) assert.equal(other, first, drivers[index + 1]);
    return first;
  };
  const lines = (text: string) => text.trim().split("\n").sort().join("\n");

  test("each says its name", () => {
    for (const [driver, daemon] of daemons) {
      assert.equal(docker(daemon, "info", "--format", "{{.Driver}}").trim(), driver);
      assert.equal(docker(daemon, "inspect", "--format", "{{.GraphDriver.Name}}", "work").trim(), driver);
      assert.equal(
        docker(daemon, "image", "inspect", "--format", "{{.GraphDriver.Name}}", "berth/busybox").trim(),
        driver,
      );
    }
    const vfs = daemons.get("vfs") as TestDaemon;
    assert.equal(docker(vfs, "inspect", "--format", "{{json .GraphDriver.Data}}", "work").trim(), "null");
    assert.equal(docker(vfs, "info", "--format", "{{json .DriverStatus}}").trim(), "null");
    const layers = readdirSync(join(vfs.dataRoot, "vfs", "dir"));
    assert.ok(
      layers.every((name) => /^[0-9a-f]{64}(-init)?$/.test(name)),
      layers.join(),
    );
  });

  test("docker diff", () => {
    const changes = same((daemon) => lines(docker(daemon, "diff", "work")));
    for (const change of [
      "A /new",
      "A /new/deep/file",
      "D /etc/group",
      "C /etc/passwd",
      "C /home",
      "D /root",
    ]) {
      assert.ok(changes.split("\n").includes(change), `${change} in\n${changes}`);
    }
    assert.doesNotMatch(changes, /\.dockerenv|hosts|resolv/);
  });

  const listing = "--numeric-owner -tvf -".split(" ");
  /** What is in an archive, without the times, some of which are of now. */
  const list = (archive: Buffer) => {
    const text = execFileSync("tar", listing, { input: archive, encoding: "utf8" });
    return lines(text.replace(/ \d{4}-\d\d-\d\d \d\d:\d\d /g, " "));
  };
  const archive = (daemon: TestDaemon, ...args: string[]): Buffer =>
    execFileSync("docker", args, { env: daemon.environment, maxBuffer: 1 << 28 });

  test("docker export and cp", () => {
    const all = same((daemon) => list(archive(daemon, "export", "work")));
    assert.match(all, /new\/deep\/file/);
    assert.doesNotMatch(all, /etc\/group/);
    same((daemon) => list(archive(daemon, "cp", "work:/new", "-")));
  });

  test("docker commit: the layer, its size, the history", () => {
    same((daemon) => {
      docker(daemon, "commit", "work", "committed:1");
      const saved = archive(daemon, "save", "committed:1");
      const file = (name: string) =>
        execFileSync("tar", ["-xOf", "-", name], { input: saved, maxBuffer: 1 << 28 });
      const top = JSON.parse(file("manifest.json").toString())[0].Layers.at(-1) as string;
      const size = docker(daemon, "image", "inspect", "-f", "{{.Size}}", "committed:1");
      const format = ["--no-trunc", "--format", "{{.CreatedBy}} {{.Size}}"];
      const history = docker(daemon, "history", ...format, "committed:1");
      return JSON.stringify([list(file(top)), size, history]);
    });
    const script =
      "cat /new/hard /etc/passwd; ls -lA /new /home /var; stat -c '%h %u %g %a' /new/hard; ls /etc/group";
    same((daemon) => {
      const ran = daemon.docker("run", "--rm", "--network", "none", "committed:1", "sh", "-c", script);
      return ran.stdout + ran.stderr;
    });
  });

  test("an image goes from one to the other and back, the same", () => {
    const [first, second] = drivers.map((driver) => daemons.get(driver) as TestDaemon) as [
      TestDaemon,
      TestDaemon,
    ];
    const id = (daemon: TestDaemon) => docker(daemon, "image", "inspect", "-f", "{{.Id}}", "committed:1");
    const original = id(first);
    docker(second, "rmi", "committed:1");
    const loaded = second.dockerWith({ input: archive(first, "save", "committed:1") }, "load");
    assert.equal(loaded.code, 0, loaded.stderr);
    assert.equal(id(second), original);
    docker(first, "rmi", "committed:1");
    const back = first.dockerWith({ input: archive(second, "save", "committed:1") }, "load");
    assert.equal(back.code, 0, back.stderr);
    assert.equal(id(first), original);
    same((daemon) =>
      docker(daemon, "run", "--rm", "--network", "none", "committed:1", "cat", "/new/soft/file"),
    );
  });

  test("docker ps --size", () => {
    same((daemon) => docker(daemon, "ps", "-as", "--filter", "name=work", "--format", "{{.Size}}"));
  });

  test("another driver is refused while there are layers, and its name is in what it says", async () => {
    const daemon = daemons.get("vfs") as TestDaemon;
    await daemon.kill("SIGTERM");
    const other = new TestDaemon({ flags: ["-s", "overlay2"], subnet: 80 });
    Object.assign(other, {
      directory: daemon.directory,
      dataRoot: daemon.dataRoot,
      execRoot: daemon.execRoot,
      socket: daemon.socket,
    });
    await assert.rejects(other.boot(), {
      message: /holds layers of storage driver vfs; they cannot be used with overlay2/,
    });
    await daemon.boot();
    assert.equal(docker(daemon, "ps", "-aq", "--filter", "name=work").trim().length, 12);
  });
});
