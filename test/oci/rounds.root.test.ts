/** Many containers, one after another and at once: nothing of them is left, and nothing grows. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  cpSync,
  type Dirent,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { isAlive } from "#oci/container-status.ts";
import { createContainer } from "#oci/create.ts";
import { deleteContainer } from "#oci/delete.ts";
import { sendSignal } from "#oci/kill.ts";
import { startContainer } from "#oci/start.ts";
import { StateDirectory } from "#oci/state-directory.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const COMMAND = resolve(import.meta.dirname, "../../bin/berth-oci");
const SEQUENTIAL = 200;
const PARALLEL = 50;
const SIGKILL = 9;
/** Of this run alone: what another run, cut short, has left on the host is not this one's. */
const OURS = `round-${process.pid}-`;

let directory: string;
let bundle: string;
before(async () => {
  directory = mkdtempSync(join(tmpdir(), "berth-rounds-"));
  bundle = join(directory, "bundle");
  mkdirSync(join(bundle, "rootfs/bin"), { recursive: true });
  cpSync("/bin/busybox", join(bundle, "rootfs/bin/busybox"));
  symlinkSync("busybox", join(bundle, "rootfs/bin/sleep"));
  assert.equal(await oci("spec", "-b", bundle), 0);
  const path = join(bundle, "config.json");
  const spec = JSON.parse(readFileSync(path, "utf8"));
  Object.assign(spec.process, { terminal: false, args: ["/bin/sleep", "1000"] });
  spec.linux.resources.memory = { limit: 64 << 20 };
  writeFileSync(path, JSON.stringify(spec));
});
after(() => rmSync(directory, { recursive: true, force: true }));

function oci(...args: string[]): Promise<number | null> {
  const child = spawn(COMMAND, ["--root", join(directory, "state"), ...args], { stdio: "ignore" });
  return new Promise((done) => child.on("close", done));
}

/** What is on the host of all that a container takes. */
function held() {
  const groups = (root: string): string[] =>
    entries(root)
      .filter((entry) => entry.isDirectory())
      .flatMap(({ name }) => [`${root}/${name}`, ...groups(`${root}/${name}`)]);
  return {
    groups: groups("/sys/fs/cgroup").filter((path) => path.includes(`/${OURS}`)),
    mounts: readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.includes(directory)),
    states: readdirSync(directory).includes("state") ? readdirSync(join(directory, "state")) : [],
    processes: readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .filter(
        (pid) =>
          commandLine(pid).includes("/bin/sleep\u00001000") || commandLine(pid).includes("launcher\u0000run"),
      ),
  };
}

/** None of a directory that has gone meanwhile: others' control groups come and go. */
function entries(path: string): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch {
    return [];
  }
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return ""; // It has ended.
  }
}

test(`${SEQUENTIAL} rounds of create, start, kill, delete leave nothing behind`, async () => {
  const states = new StateDirectory(join(directory, "state"));
  const earlier = held();
  const descriptors = () => readdirSync("/proc/self/fd").length;
  let open = 0;
  for (let round = 0; round < SEQUENTIAL; round++) {
    const id = `${OURS}${round}`;
    const options = { bundle, id, preserveFds: 0, noPivot: false, noNewKeyring: false };
    const { container, run } = await createContainer(states, {
      ...options,
      systemdCgroup: false,
      foreground: false,
    });
    run.shim.close();
    await run.ended;
    await startContainer(states, container);
    sendSignal(container, SIGKILL);
    await eventually(() => assert.equal(isAlive(container), false));
    await deleteContainer(states, id, { force: false });
    if (round === 10) open = descriptors();
  }
  assert.ok(descriptors() <= open, `${descriptors()} descriptors are open, ${open} were after ten rounds`);
  await eventually(() => assert.deepEqual(held(), earlier));
});

test(`${PARALLEL} rounds at once, by command lines, leave nothing behind`, async () => {
  const earlier = held();
  const round = async (id: string) => {
    assert.equal(await oci("create", "-b", bundle, id), 0, `create ${id}`);
    assert.equal(await oci("start", id), 0, `start ${id}`);
    assert.equal(await oci("kill", id, "KILL"), 0, `kill ${id}`);
    await eventually(async () => assert.equal(await oci("delete", id), 0, `delete ${id}`));
  };
  await Promise.all(Array.from({ length: PARALLEL }, (_, index) => round(`${OURS}p${index}`)));
  await eventually(() => assert.deepEqual(held(), earlier));
});
