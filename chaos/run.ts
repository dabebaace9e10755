/** One run: clients at work, a fault, a look at everything, again and again; in the end all is removed. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { KnownImages, seededRandom } from "#test/chaos/known-images.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";
import { type Action, BASE_IMAGE, containerActions, type Scene } from "./actions.ts";
import { checkContainers } from "./check-containers.ts";
import { type Held, heldBy, moreThan } from "./check-leftovers.ts";
import { checkImageRuns, checkThings } from "./check-things.ts";
import { Clients } from "./clients.ts";
import { Dice } from "./dice.ts";
import { FAULTS, type Fault, missingPrograms } from "./faults.ts";
import { Gate } from "./gate.ts";
import { Ledger } from "./ledger.ts";
import { thingActions } from "./thing-actions.ts";

/** Of the memory file system that is the data root: small enough to be filled in no time. */
const DISK = "600m";

export interface ChaosOptions {
  milliseconds: number;
  seed: number;
  /** Clients at once. */
  workers: number;
  /** Only these faults; all where there are none. */
  faults: readonly string[];
  say(line: string): void;
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
  readonly #clients = new Clients(this.#daemon);
  readonly #counts = { operations: new Map<string, number>(), faults: new Map<string, number>() };
  readonly #violations: string[] = [];
  readonly #known = new Set<string>();
  #registry: TestRegistry | undefined;
  #gate!: Gate;
  #scene!: Scene;
  #first!: Held;
  #round = 0;
  #pause = false;

  constructor(options: ChaosOptions) {
    this.#options = options;
    this.#dice = new Dice(options.seed);
  }

  async prepare(): Promise<void> {
    const daemon = this.#daemon;
    const known = await KnownImages.make(seededRandom(this.#options.seed));
    const registry = await TestRegistry.start();
    this.#registry = registry;
    for (const { name, image } of known.images) await registry.push(name.split(":")[0] ?? "", "1", image);
    this.#gate = await Gate.to(Number(registry.host.split(":")[1]));
    mkdirSync(daemon.dataRoot, { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK},mode=0710`, "tmpfs", daemon.dataRoot]);
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
      violation: (text) => this.#violation(text),
    };
    await sleep(1000);
    this.#first = heldBy(daemon, this.#known);
  }

  async rounds(): Promise<void> {
    const until = Date.now() + this.#options.milliseconds;
    while (Date.now() < until) {
      this.#round++;
      const fault = this.#nextFault();
      this.#pause = false;
      const workers = Array.from({ length: this.#options.workers }, () => this.#work());
      await sleep(this.#dice.between(300, 2500));
      const { daemon, dice, ledger, gate } = { ...this.#scene, daemon: this.#daemon, gate: this.#gate };
      await fault.happen({ daemon, dice, ledger, gate });
      count(this.#counts.faults, fault.name);
      await sleep(this.#dice.between(0, 600));
      this.#pause = true;
      await this.#settle(fault, workers);
      await this.#check();
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
    const actions = [...containerActions, ...thingActions];
    while (!this.#pause) {
      const [name, action] = this.#dice.weighted<readonly [string, Action]>(
        actions.map(([name, weight, action]) => [[name, action], weight]),
      );
      await action(this.#scene);
      count(this.#counts.operations, name);
      // A client without a daemon tries again, but not in a tight loop.
      if (!this.#daemon.running) await sleep(50);
    }
  }

  /** The daemon is there again, and nothing is under way. */
  async #settle(fault: Fault, workers: Promise<void>[]): Promise<void> {
    if (!this.#daemon.running) {
      if (!fault.ends)
        this.#violation(`the daemon came to its end when ${fault.name}:\n${tail(this.#daemon)}`);
      await this.#daemon.boot();
    }
    await Promise.all(workers);
    if (!this.#daemon.running) {
      this.#violation(`the daemon came to its end after ${fault.name}:\n${tail(this.#daemon)}`);
      await this.#daemon.boot();
    }
  }

  async #check(): Promise<void> {
    const witness = {
      clients: this.#clients,
      ledger: this.#ledger,
      violation: (text: string) => this.#violation(text),
    };
    await checkContainers(witness);
    for (const { id } of this.#ledger.containers.values()) this.#known.add(id);
    await checkThings(witness);
    await checkImageRuns(witness, this.#dice, (name) => !/(one|two|three|four|five):1$/.test(name));
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
    const { requests, unanswered } = this.#clients;
    const text = [
      `seed ${this.#options.seed}, ${this.#round} rounds`,
      table("operations", this.#counts.operations),
      table("faults", this.#counts.faults),
      `${requests} requests, ${unanswered} of them without an answer`,
      `${this.#violations.length} violations`,
      ...this.#violations.map((violation) => `  ${violation}`),
    ].join("\n");
    return { violations: this.#violations, text };
  }

  #violation(text: string): void {
    const told = `round ${this.#round}: ${text}`;
    this.#violations.push(told);
    this.#options.say(`VIOLATION ${told}`);
  }
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function tail(daemon: TestDaemon): string {
  return daemon.log().split("\n").slice(-12).join("\n");
}
