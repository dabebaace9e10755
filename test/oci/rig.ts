/**
 * The same commands on runc, crun and berth-oci, and what was seen of each: exit codes, and what a container finds inside.
 * Where the two peers agree, Berth has to; where they differ, it has to be like one of them.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Spec } from "#runtime/spec-types.ts";
import { type DebianPeers, debianPeers } from "#test/fixtures/debian-peers.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const BERTH = resolve(import.meta.dirname, "../../bin/berth-oci");
/** How long a command may take, ms; only a hang gets there, on a busy machine too. */
const PATIENCE_MS = 120_000;
const APPLETS =
  "sh cat ls echo true false id mount hostname sleep stat touch mkdir ln ps kill ip mknod env pwd head wc readlink dd grep sync sed tty find sort cut tr nproc date chmod umask seq".split(
    " ",
  );

export type FullSpec = Spec & Required<Pick<Spec, "process" | "linux" | "mounts" | "root">>;

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Case {
  name: string;
  run(rig: Rig): Promise<void> | void;
  /** Observations that may differ from both peers, and why that is right. */
  differs?: Record<string, string>;
}

export interface CommandOptions {
  input?: string;
  /** Files that are open for reading from descriptor 3 on. */
  descriptors?: readonly string[];
}

/** One runtime with its state, root file system and bundle. */
export class Rig {
  readonly runtime: string;
  readonly directory: string;
  readonly rootfs: string;
  readonly seen = new Map<string, unknown>();
  readonly #argv: string[];
  readonly #env: NodeJS.ProcessEnv;
  #template: FullSpec;
  #count = 0;

  constructor(runtime: string, argv: string[], env: NodeJS.ProcessEnv, template: FullSpec) {
    this.runtime = runtime;
    this.#argv = argv;
    this.#env = env;
    this.#template = template;
    this.directory = mkdtempSync(join(tmpdir(), `berth-case-${runtime}-`));
    chmodSync(this.directory, 0o755);
    this.rootfs = join(this.directory, "bundle/rootfs");
    makeRootfs(this.rootfs);
  }

  /** A container id that nobody else has; the same text for every runtime in the observations. */
  id(): string {
    return `case-${this.runtime}-${process.pid}-${this.#count++}`;
  }

  get bundle(): string {
    return join(this.directory, "bundle");
  }

  /** Writes the configuration: runc's template without a terminal, changed. */
  configure(change: (spec: FullSpec) => void): void {
    const spec = structuredClone(this.#template);
    change(spec);
    writeFileSync(join(this.bundle, "config.json"), JSON.stringify(spec));
  }

  /** Runs the runtime. Containers write to files: a pipe would stay open as long as they live. */
  oci(args: readonly string[], options: CommandOptions = {}): Ran {
    return this.command([...this.#argv, "--root", join(this.directory, "state"), ...args], options);
  }

  command(argv: readonly string[], options: CommandOptions = {}): Ran {
    const paths = ["out", "err"].map((name) => join(this.directory, name));
    const input = join(this.directory, "in");
    writeFileSync(input, options.input ?? "");
    const further = (options.descriptors ?? []).map((path) => openSync(path, "r"));
    const descriptors = [openSync(input, "r"), ...paths.map((path) => openSync(path, "w")), ...further];
    const [program = "", ...rest] = argv;
    const ran = spawnSync(program, rest, {
      cwd: this.directory,
      env: this.#env,
      stdio: descriptors,
      timeout: PATIENCE_MS,
      killSignal: "SIGKILL",
    });
    for (const descriptor of descriptors) closeSync(descriptor);
    const [stdout = "", stderr = ""] = paths.map((path) => readFileSync(path, "utf8"));
    return { code: ran.status, stdout, stderr };
  }

  /** What all runtimes have to agree on. */
  see(label: string, value: unknown): void {
    assert.ok(!this.seen.has(label), `${label} was seen already`);
    this.seen.set(
      label,
      typeof value === "string" ? value.replaceAll(this.directory, "<dir>").trim() : value,
    );
  }

  /** Runs a shell script as the container in the foreground; sees its exit code and output. */
  script(label: string, text: string, change: (spec: FullSpec) => void = () => {}): Ran {
    this.configure((spec) => {
      spec.process.args = ["sh", "-c", text];
      change(spec);
    });
    const ran = this.oci(["run", "-b", this.bundle, this.id()]);
    this.see(label, { code: ran.code, stdout: ran.stdout.replaceAll(this.directory, "<dir>") });
    return ran;
  }

  /** A container that runs `sleep`; answers its id. */
  sleeper(change: (spec: FullSpec) => void = () => {}): string {
    this.configure((spec) => {
      spec.process.args = ["sleep", "1000"];
      change(spec);
    });
    const id = this.id();
    const ran = this.oci(["run", "-d", "-b", this.bundle, id]);
    assert.equal(ran.code, 0, `${this.runtime}: ${ran.stderr}`);
    return id;
  }

  status(id: string): string {
    const { code, stdout } = this.oci(["state", id]);
    return code === 0 ? (JSON.parse(stdout) as { status: string }).status : "none";
  }

  pid(id: string): number {
    return (JSON.parse(this.oci(["state", id]).stdout) as { pid: number }).pid;
  }

  /** Waits until the container has that status. */
  async becomes(id: string, status: string): Promise<void> {
    await eventually(() => assert.equal(this.status(id), status));
  }

  /** After a case: nothing may be left of it. */
  left(): string[] {
    const state = join(this.directory, "state");
    return [
      ...(existsSync(state) ? readdirSync(state) : []),
      ...this.#groups("/sys/fs/cgroup"),
      ...readFileSync("/proc/self/mounts", "utf8")
        .split("\n")
        .filter((line) => line.includes(this.directory)),
    ];
  }

  /** Control groups of our containers, those below after those above. */
  #groups(root: string): string[] {
    const mine = `case-${this.runtime}-${process.pid}-`;
    return directoriesIn(root)
      .flatMap((name) => [`${root}/${name}`, ...this.#groups(`${root}/${name}`)])
      .filter((path) => path.includes(mine));
  }

  /** What ends behind a command's back gets a moment. */
  async leavesNothing(): Promise<void> {
    await eventually(() => assert.deepEqual(this.left(), [], `${this.runtime} leaves something behind`));
  }

  /** So that a case that has failed spoils no other. */
  async deleteAll(): Promise<void> {
    const state = join(this.directory, "state");
    for (const id of existsSync(state) ? readdirSync(state) : []) this.oci(["delete", "-f", id]);
    // What was killed in a group keeps it busy until it has ended; then it may go by itself, too.
    await eventually(() => {
      for (const path of this.#groups("/sys/fs/cgroup").reverse()) rmdirSync(path);
    });
  }

  async remove(): Promise<void> {
    await this.deleteAll();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Other people's groups come and go meanwhile. */
function directoriesIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}

function makeRootfs(root: string): void {
  for (const part of ["bin", "proc", "dev", "sys", "etc", "tmp", "root", "mnt"]) {
    mkdirSync(join(root, part), { recursive: true });
  }
  chmodSync(join(root, "tmp"), 0o1777);
  cpSync("/bin/busybox", join(root, "bin/busybox"));
  for (const applet of APPLETS) symlinkSync("busybox", join(root, "bin", applet));
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n");
  writeFileSync(join(root, "etc/plain"), "text\n");
}

/** The three, ready to run. */
export function makeRigs(): Rig[] {
  const peers = debianPeers();
  const template = templateOf(peers);
  // crun refuses a layout that has both versions of control groups: it gets a mount table without the second one.
  const hidden = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" "$@"';
  const crun = [
    "unshare",
    "-m",
    "--propagation",
    "unchanged",
    "sh",
    "-c",
    `mount --make-rprivate /; ${hidden}`,
  ];
  return [
    new Rig("runc", [peers.program("runc")], peers.env, template),
    new Rig("crun", [...crun, peers.program("crun")], peers.env, template),
    new Rig("berth", [BERTH], process.env, template),
  ];
}

function templateOf(peers: DebianPeers): FullSpec {
  const directory = mkdtempSync(join(tmpdir(), "berth-case-spec-"));
  try {
    const made = spawnSync(peers.program("runc"), ["spec", "-b", directory], { env: peers.env });
    assert.equal(made.status, 0, String(made.stderr));
    const spec = JSON.parse(readFileSync(join(directory, "config.json"), "utf8")) as FullSpec;
    spec.process.terminal = false;
    spec.root.readonly = false;
    return spec;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** What is wrong with Berth's observations beside the peers', a line each. */
export function disagreements(known: Record<string, string>, [runc, crun, berth]: readonly Rig[]): string[] {
  const labels = new Set([runc, crun, berth].flatMap((rig) => [...(rig?.seen.keys() ?? [])]));
  return [...labels].flatMap((label) => {
    const [ofRunc, ofCrun, ofBerth] = [runc, crun, berth].map((rig) => JSON.stringify(rig?.seen.get(label)));
    if (ofBerth === ofRunc || ofBerth === ofCrun || label in known) return [];
    return [`${label}:\n  runc  ${ofRunc}\n  crun  ${ofCrun}\n  berth ${ofBerth}`];
  });
}
