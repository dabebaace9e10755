import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Spec } from "#runtime/spec-types.ts";

const main = join(import.meta.dirname, "main.ts");
let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-oci-"));
  mkdirSync(join(directory, "rootfs/bin"), { recursive: true });
  copyFileSync("/bin/busybox", join(directory, "rootfs/bin/busybox"));
  for (const name of ["sh", "cat", "hostname"]) symlinkSync("busybox", join(directory, "rootfs/bin", name));
});
after(() => rmSync(directory, { recursive: true, force: true }));

function oci(args: string[], input = "") {
  const command = [
    "--disable-warning=ExperimentalWarning",
    main,
    "--root",
    join(directory, "state"),
    ...args,
  ];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, {
    cwd: directory,
    input,
    encoding: "utf8",
    timeout: 30_000,
  });
  return { status, stdout, stderr };
}

/** With no streams that the container could hold open after the command has ended. */
function ociAlone(args: string[]): number | null {
  const command = [
    "--disable-warning=ExperimentalWarning",
    main,
    "--root",
    join(directory, "state"),
    ...args,
  ];
  return spawnSync(process.execPath, command, { cwd: directory, stdio: "ignore", timeout: 30_000 }).status;
}

describe("berth-oci", () => {
  it("tells its version and its commands, and refuses others", () => {
    assert.match(oci(["--version"]).stdout, /^berth-oci version \d/);
    assert.match(oci(["--help"]).stdout, /Usage: berth-oci/);
    for (const args of [
      ["nosuch"],
      ["run"],
      ["start"],
      ["exec"],
      ["run", "--nosuch", "a"],
      ["run", "a", "b"],
      ["run", "../x"],
      ["--nosuch"],
      ["spec", "x"],
    ]) {
      const { status, stderr } = oci(args);
      assert.equal(status, 1, args.join(" "));
      assert.match(stderr, /^time="[^"]+" level=error msg="/);
    }
  });

  it("writes a configuration and runs it, with its streams and its exit code", () => {
    assert.match(oci(["run", "early"]).stderr, /JSON specification file config\.json not found/);
    assert.equal(oci(["spec"]).status, 0);
    assert.match(oci(["spec"]).stderr, /config\.json exists/);
    const path = join(directory, "config.json");
    const spec = JSON.parse(readFileSync(path, "utf8")) as Spec;
    Object.assign(spec.process as object, {
      terminal: false,
      args: ["sh", "-c", "cat; hostname; echo err >&2; exit 5"],
    });
    writeFileSync(path, JSON.stringify(spec));
    const result = oci(["run", "--pid-file", "pid", "one"], "typed\n");
    assert.deepEqual(result, { status: 5, stdout: "typed\nberth\n", stderr: "err\n" });
    assert.match(readFileSync(join(directory, "pid"), "utf8"), /^\d+$/);
    assert.ok(!existsSync(join(directory, "state/one")));
    assert.ok(!existsSync("/sys/fs/cgroup/pids/berth/one"));
    Object.assign(spec.process as object, { args: ["nosuch"] });
    writeFileSync(path, JSON.stringify(spec));
    const missing = oci(["run", "two"]);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /executable file not found in \$PATH/);
    assert.ok(!existsSync(join(directory, "state/two")));
  });

  const bundleOf = (change: (spec: Spec & Required<Pick<Spec, "process" | "linux">>) => void) => {
    const path = join(directory, "config.json");
    rmSync(path, { force: true });
    assert.equal(oci(["spec"]).status, 0);
    const spec = JSON.parse(readFileSync(path, "utf8"));
    spec.process.terminal = false;
    change(spec);
    writeFileSync(path, JSON.stringify(spec));
  };
  const script = (text: string) => ["/bin/busybox", "sh", "-c", text];

  it("takes a container from create to delete, with all its hooks in order", () => {
    const log = join(directory, "hooks");
    bundleOf((spec) => {
      spec.process.args = ["/bin/busybox", "sleep", "100"];
      const names = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] as const;
      const hook = (name: string) => ({
        path: "/bin/sh",
        args: ["sh", "-c", `echo "${name} $(cat)" >> ${log}`],
        env: ["PATH=/usr/bin:/bin"],
      });
      spec.hooks = Object.fromEntries(names.map((name) => [name, [hook(name)]]));
      spec.hooks.startContainer = [
        { path: "/bin/busybox", args: ["busybox", "sh", "-c", "cat > /started"], timeout: 10 },
      ];
    });
    assert.equal(ociAlone(["create", "--pid-file", "pid", "cd"]), 0);
    const state = () => JSON.parse(oci(["state", "cd"]).stdout);
    const { status, pid, bundle } = state();
    assert.deepEqual(
      [status, String(pid), bundle],
      ["created", readFileSync(join(directory, "pid"), "utf8"), directory],
    );
    assert.equal(oci(["delete", "nosuch"]).status, 1);
    assert.match(oci(["create", "cd"]).stderr, /container with given ID already exists/);
    assert.equal(oci(["start", "cd"]).status, 0);
    assert.equal(state().status, "running");
    assert.match(oci(["start", "cd"]).stderr, /cannot start an already running container/);
    assert.match(oci(["delete", "cd"]).stderr, /cannot delete container cd that is not stopped: running/);
    assert.equal(oci(["exec", "cd", ...script("exit 3")]).status, 3);
    const missing = oci(["exec", "cd", "nosuch"]);
    assert.deepEqual(
      [missing.status, /exec failed: .*executable file not found/.test(missing.stderr)],
      [255, true],
    );
    assert.equal(oci(["pause", "cd"]).status, 0);
    assert.equal(state().status, "paused");
    const paused = oci(["exec", "cd", "true"]);
    assert.match(paused.stderr, /exec failed: .*cannot exec in a paused container/);
    assert.equal(paused.status, 255);
    assert.equal(oci(["resume", "cd"]).status, 0);
    assert.equal(oci(["kill", "cd", "KILL"]).status, 0);
    for (let look = 0; look < 100 && state().status !== "stopped"; look++) spawnSync("sleep", ["0.05"]);
    assert.equal(state().pid, 0);
    assert.match(oci(["kill", "cd"]).stderr, /container not running/);
    assert.equal(oci(["delete", "cd"]).status, 0);
    assert.match(oci(["state", "cd"]).stderr, /container does not exist/);
    const lines = readFileSync(log, "utf8").trim().split("\n");
    const seen = lines.map((line) => {
      const [name = "", json = ""] = [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" "))];
      return [name, JSON.parse(json).status, JSON.parse(json).pid === pid];
    });
    assert.deepEqual(seen, [
      ["prestart", "creating", true],
      ["createRuntime", "creating", true],
      ["createContainer", "creating", true],
      ["poststart", "running", true],
      ["poststop", "stopped", false],
    ]);
    assert.equal(JSON.parse(readFileSync(join(directory, "rootfs/started"), "utf8")).status, "created");
    assert.ok(!existsSync("/sys/fs/cgroup/pids/berth/cd"));
  });

  it("ends a creation or start whose hook fails or takes too long, and leaves nothing", () => {
    const failing: [keyof NonNullable<Spec["hooks"]>, string, RegExp][] = [
      ["createRuntime", "echo reason >&2; exit 4", /createRuntime hook #0: exit status 4, .*reason/],
      ["createContainer", "exit 4", /createContainer hook #0 .*ended with an exit status that is not 0/],
      ["startContainer", "exit 4", /startContainer hook #0 .*ended with an exit status that is not 0/],
      ["createRuntime", "exec sleep 60", /ran past specified timeout/],
      ["createContainer", "exec sleep 60", /createContainer hook #0 .*took longer than 1 s/],
    ];
    for (const [name, text, message] of failing) {
      bundleOf((spec) => {
        spec.process.args = ["/bin/busybox", "true"];
        const path = name === "startContainer" ? "/bin/busybox" : "/bin/sh";
        const env = ["PATH=/usr/bin:/bin"];
        spec.hooks = { [name]: [{ path, args: ["sh", "-c", text], env, timeout: 1 }] };
      });
      const { status, stderr } = oci(["run", "hf"]);
      assert.equal(status, 1, `${name}: ${text}`);
      assert.match(stderr, message);
      assert.ok(!existsSync(join(directory, "state/hf")), name);
      assert.ok(!existsSync("/sys/fs/cgroup/pids/berth/hf"), name);
    }
  });

  it("moves network devices in, with their addresses, under another name", (context) => {
    const made = spawnSync("ip", ["link", "add", "berthnd0", "type", "veth", "peer", "name", "berthnd1"]);
    context.after(() => spawnSync("ip", ["link", "del", "berthnd1"]));
    assert.equal(made.status, 0);
    spawnSync("ip", ["addr", "add", "192.0.2.77/28", "dev", "berthnd0"]);
    bundleOf((spec) => {
      spec.process.args = script("busybox ip -o addr show dev inner0");
      spec.linux.netDevices = { berthnd0: { name: "inner0" } };
    });
    const { status, stdout } = oci(["run", "nd"]);
    assert.equal(status, 0);
    assert.match(stdout, /inner0 +inet 192\.0\.2\.77\/28/);
    bundleOf((spec) => {
      spec.linux.netDevices = { nosuch: {} };
    });
    assert.match(oci(["run", "nd"]).stderr, /linux\.netDevices: network device .*nosuch.* not found/);
  });

  it("binds memory to nodes", () => {
    bundleOf((spec) => {
      spec.process.args = script("busybox head -1 /proc/self/numa_maps");
      spec.linux.memoryPolicy = { mode: "MPOL_BIND", nodes: "0" };
    });
    assert.match(oci(["run", "mp"]).stdout, /^\S+ bind:0 /);
    for (const policy of [
      { mode: "MPOL_NONE", nodes: "0" },
      { mode: "MPOL_BIND", nodes: "zero" },
      { mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_NONE"] },
    ]) {
      bundleOf((spec) => {
        spec.linux.memoryPolicy = policy;
      });
      assert.match(oci(["run", "mp"]).stderr, /linux\.memoryPolicy\./);
    }
  });
});
