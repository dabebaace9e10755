/** One run: clients at work, a fault, a look at everything, again and again; in the end all is removed. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { KnownImages, seededRandom } from "#test/chaos/known-images.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";
import { type Action, BASE_IMAGE, containerActions, type Scene } from "./actions.ts";
import { checkContainers } from "./check-containers.ts";
import { checkKernel } from "./check-kernel.ts";
import { type Held, heldBy, moreThan } from "./check-leftovers.ts";
import { checkNames, checkPorts } from "./check-network.ts";
import { checkImagesRun, checkThings, checkVolumes } from "./check-things.ts";
import { Clients } from "./clients.ts";
import { Dice } from "./dice.ts";
import { EventsReader } from "./events-reader.ts";
import { FAULTS, type Fault, missingPrograms } from "./faults.ts";
import { Gate } from "./gate.ts";
import { type ChaosContainer, Ledger } from "./ledger.ts";
import { streamActions } from "./stream-actions.ts";
import { thingActions } from "./thing-actions.ts";

/** Of the memory file system that is the data root: small enough to be filled in no time. */
const DISK = "600m";
/** More than it ever needs with so few containers, MiB resident. */
const MEMORY = 400;
/** Files it may hold; an image of busybox has some 400. */
const FILES = "40k";

export interface ChaosOptions {
  milliseconds: number;
  /** At most so many faults; Infinity for no limit. */
  rounds: number;
  seed: number;
  /** Clients at once. */
  workers: number;
  /** Only these faults; all where there are none. */
  faults: readonly string[];
  say(line: string): void;
  /** Is told of every request and its answer. */
  trace(line: string): void;
}

export interface ChaosReport {
  violations: readonly string[];
  text: string;
}

export async function chaosRun(options: ChaosOptions): Promise<ChaosReport> {
  const missing = missingPrograms();
  if (missing.length > 0) throw new Error(`install ${missing.join(", ")} for this`);
  const run = new Run(options);
  try {
    await run.prepare();
    await run.rounds();
    await run.end();
  } finally {
    await run.close();
  }
  return run.report();
}

class Run {
  readonly #options: ChaosOptions;
  readonly #dice: Dice;
  readonly #ledger = new Ledger();
  readonly #daemon = new TestDaemon({ subnet: 90, flags: ["--storage-driver", "overlay2"] });
  readonly #clients: Clients;
  readonly #counts = { operations: new Map<string, number>(), faults: new Map<string, number>() };
  readonly #violations: string[] = [];
  readonly #known = new Set<string>();
  #registry: TestRegistry | undefined;
  #gate!: Gate;
  #scene!: Scene;
  #first!: Held;
  #events!: EventsReader;
  #round = 0;
  #failing = false;
  #requests = 0;
  #unanswered = 0;
  #memory = 0;
  #pause = false;

  constructor(options: ChaosOptions) {
    this.#options = options;
    this.#dice = new Dice(options.seed);
    this.#clients = new Clients(this.#daemon, options.trace);
  }

  async prepare(): Promise<void> {
    const daemon = this.#daemon;
    const known = await KnownImages.make(seededRandom(this.#options.seed));
    const registry = await TestRegistry.start();
    this.#registry = registry;
    for (const { name, image } of known.images) await registry.push(name.split(":")[0] ?? "", "1", image);
    this.#gate = await Gate.to(Number(registry.host.split(":")[1]));
    mkdirSync(daemon.dataRoot, { recursive: true });
    execFileSync("mount", [
      "-t",
      "tmpfs",
      "-o",
      `size=${DISK},nr_inodes=${FILES},mode=0710`,
      "tmpfs",
      daemon.dataRoot,
    ]);
    await daemon.boot();
    process.env.BERTH_NO_SETUP = "1";
    daemon.loadBusybox();
    daemon.ok("run", "--rm", BASE_IMAGE, "true");
    this.#scene = {
      clients: this.#clients,
      ledger: this.#ledger,
      dice: this.#dice,
      registry: this.#gate.host,
      offered: known.images,
      registryHas: (repository) => hasTag(registry.host, repository),
      failing: () => this.#failing,
      violation: (text) => this.#violation(text),
    };
    await sleep(1000);
    this.#first = heldBy(daemon, this.#known);
    this.#events = new EventsReader(daemon.socket);
    void this.#events.run();
  }

  async rounds(): Promise<void> {
    const until = Date.now() + this.#options.milliseconds;
    while (Date.now() < until && this.#round < this.#options.rounds) {
      this.#round++;
      this.#ledger.round = this.#round;
      const fault = this.#nextFault();
      this.#pause = false;
      const workers = Array.from({ length: this.#options.workers }, () => this.#work());
      await sleep(this.#dice.between(300, 2500));
      const { daemon, dice, ledger, gate } = { ...this.#scene, daemon: this.#daemon, gate: this.#gate };
      this.#failing = fault.hinders === true;
      this.#options.trace(`round ${this.#round}: ${fault.name}`);
      await fault.happen({ daemon, dice, ledger, gate });
      count(this.#counts.faults, fault.name);
      if (fault.ends) ledger.daemonEnds++;
      for (const container of ledger.containers.values()) met(container, fault, this.#round);
      await sleep(this.#dice.between(0, 600));
      this.#pause = true;
      await this.#settle(fault, workers);
      this.#failing = false;
      await this.#check().catch((error: unknown) => this.#violation(`a look came to nothing: ${error}`));
      const things = Object.values(ledger.things).reduce((sum, { size }) => sum + size, 0);
      this.#options.say(
        `round ${this.#round}: ${fault.name}; ${ledger.containers.size} containers, ${things} other things`,
      );
    }
  }

  #nextFault(): Fault {
    const { faults } = this.#options;
    const chosen = FAULTS.filter(({ name }) => faults.length === 0 || faults.includes(name));
    return this.#dice.weighted(chosen.map((fault) => [fault, fault.weight] as const));
  }

  async #work(): Promise<void> {
    const actions = [...containerActions, ...streamActions, ...thingActions];
    const clients = new Clients(this.#daemon, this.#options.trace);
    while (!this.#pause) {
      const [name, action] = this.#dice.weighted<readonly [string, Action]>(
        actions.map(([name, weight, action]) => [[name, action], weight]),
      );
      const { requests, unanswered } = clients;
      await action({ ...this.#scene, clients });
      // What asked for nothing, or was not answered at all, was no operation.
      const asked = clients.requests - requests;
      const silent = clients.unanswered - unanswered;
      if (asked > silent) count(this.#counts.operations, name);
      this.#requests += asked;
      this.#unanswered += silent;
      // A client without a daemon tries again, but not in a tight loop.
      if (asked === silent) await sleep(this.#daemon.running ? 5 : 50);
    }
  }

  /** The daemon is there again, and nothing is under way. */
  async #settle(fault: Fault, workers: Promise<void>[]): Promise<void> {
    if (!this.#daemon.running) {
      if (!fault.ends)
        this.#violation(`the daemon came to its end when ${fault.name}:\n${tail(this.#daemon)}`);
      this.#ledger.daemonEnds++;
      await this.#daemon.boot();
    }
    await Promise.all(workers);
    if (!this.#daemon.running) {
      this.#violation(`the daemon came to its end after ${fault.name}:\n${tail(this.#daemon)}`);
      this.#ledger.daemonEnds++;
      await this.#daemon.boot();
    }
  }

  async #check(): Promise<void> {
    const witness = {
      clients: this.#clients,
      ledger: this.#ledger,
      ends: this.#events.ends,
      violation: (text: string) => this.#violation(text),
    };
    await checkContainers(witness);
    for (const { id } of this.#ledger.containers.values()) this.#known.add(id);
    await checkThings(witness);
    checkVolumes(witness, this.#daemon.dataRoot);
    await checkKernel(witness, this.#daemon);
    await checkPorts(witness, this.#dice, this.#daemon.gateway);
    await checkNames(witness, this.#dice);
    await checkImagesRun(witness, this.#dice, (name) => !/(one|two|three|four|five):1$/.test(name));
    this.#memory = Math.max(this.#memory, residentOf(this.#daemon.pid));
    if (this.#memory > MEMORY) this.#violation(`the daemon has ${this.#memory} MiB resident`);
  }

  /** Everything is removed by its name; then nothing may be left. */
  async end(): Promise<void> {
    const { docker } = this.#clients;
    const ask = docker.bind(this.#clients);
    for (const container of this.#ledger.containers.values()) this.#known.add(container.id);
    const ids = [...this.#ledger.containers.values()].map(({ id }) => id);
    if (ids.length > 0) await this.#must(ask("rm", "-f", "-v", ...ids));
    const { image, volume, network } = this.#ledger.things;
    if (network.size > 0) await this.#must(ask("network", "rm", ...network.keys()));
    if (volume.size > 0) await this.#must(ask("volume", "rm", ...volume.keys()));
    // What a removal could not take along while the disk failed is listed, and goes like this.
    await this.#must(ask("volume", "prune", "-f"));
    if (image.size > 0) await this.#must(ask("rmi", "-f", ...image.keys()));
    await this.#must(ask("image", "prune", "-f"));
    // What could not go while calls failed goes when the daemon comes up.
    await this.#daemon.kill("SIGTERM");
    await this.#daemon.boot();
    let more = "";
    await eventually(() => {
      more = moreThan(this.#first, heldBy(this.#daemon, this.#known));
      if (more !== "") throw new Error(more);
    }).catch(() => this.#violation(`left behind: ${more}`));
  }

  async #must(answer: Promise<{ status: number; body: string }>): Promise<void> {
    const { status, body } = await answer;
    if (status !== 200) this.#violation(`the end: ${body}`);
  }

  async close(): Promise<void> {
    this.#events?.close();
    try {
      await this.#daemon.kill("SIGTERM");
      execFileSync("umount", ["-l", this.#daemon.dataRoot]);
    } finally {
      await this.#daemon.stop();
      this.#gate?.close();
      await this.#registry?.stop();
    }
  }

  report(): ChaosReport {
    const table = (title: string, counts: Map<string, number>) =>
      `${title}: ${[...counts].map(([name, times]) => `${times} ${name}`).join(", ")}`;
    const operations = [...this.#counts.operations.values()].reduce((sum, times) => sum + times, 0);
    const faults = [...this.#counts.faults.values()].reduce((sum, times) => sum + times, 0);
    const text = [
      `seed ${this.#options.seed}, ${this.#round} rounds`,
      table(`${operations} operations`, this.#counts.operations),
      table(`${faults} faults`, this.#counts.faults),
      `${this.#requests} requests, ${this.#unanswered} of them without an answer; ${this.#events.events} events`,
      `the daemon had at most ${this.#memory} MiB resident`,
      `${this.#violations.length} violations`,
      ...this.#violations.map((violation) => `  ${violation}`),
    ].join("\n");
    return { violations: this.#violations, text };
  }

  #violation(text: string): void {
    const told = `round ${this.#round}: ${text}`;
    this.#violations.push(told);
    this.#options.say(`VIOLATION ${told}`);
    this.#options.trace(`VIOLATION ${told}`);
  }
}

function met(container: ChaosContainer, fault: Fault, round: number): void {
  container.hindered ||= fault.hinders === true;
  if (!fault.reachesInside || container.begunIn !== round) return;
  container.lostLines = true;
  if (container.life === "running") container.life = "told to end";
}

async function hasTag(host: string, repository: string): Promise<boolean> {
  const { ok, body } = await fetch(`http://${host}/v2/${repository}/tags/list`);
  await body?.cancel();
  return ok;
}

function residentOf(pid: number): number {
  return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024);
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function tail(daemon: TestDaemon): string {
  return daemon.log().split("\n").slice(-12).join("\n");
}
