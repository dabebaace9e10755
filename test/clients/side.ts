/**
 * One side of a comparison: an engine with the real docker command line pointed at it, Berth's or Debian's. What both
 * are asked is asked in the same words.
 */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { Dockerd } from "#test/fixtures/peer-engines.ts";

/** Milliseconds; only a hang gets there. */
const PATIENCE = 120_000;

export interface Answer {
  code: number | null;
  stdout: Buffer;
  stderr: string;
}

export class Side implements AsyncDisposable {
  readonly name: string;
  /** Where it keeps layers: `<data root>/<driver>`. */
  readonly layers: string;
  readonly #socket: string;
  readonly #config: string;
  readonly #stop: () => Promise<void>;

  private constructor(
    name: string,
    socket: string,
    layers: string,
    directory: string,
    stop: () => Promise<void>,
  ) {
    this.name = name;
    this.layers = layers;
    this.#socket = socket;
    this.#config = join(directory, "client");
    this.#stop = stop;
  }

  /** `subnet`: as for TestDaemon. */
  static async berth(subnet: number, driver: "overlay2" | "vfs" = "overlay2"): Promise<Side> {
    const daemon = await TestDaemon.start({ subnet, flags: ["--storage-driver", driver] });
    const layers = join(daemon.dataRoot, driver);
    return new Side(`berth on ${driver}`, daemon.socket, layers, daemon.directory, () => daemon.stop());
  }

  /** Without a network: for images and containers with `--network none`. */
  static async dockerd(): Promise<Side> {
    const engine = await Dockerd.start({ network: false });
    const layers = join(engine.directory, "data/overlay2");
    return new Side("dockerd", engine.socket, layers, engine.directory, async () => {
      const ids = spawnSync("docker", ["-H", `unix://${engine.socket}`, "ps", "-aq"], { encoding: "utf8" });
      const left = (ids.stdout ?? "").split("\n").filter(Boolean);
      if (left.length > 0) spawnSync("docker", ["-H", `unix://${engine.socket}`, "rm", "-f", ...left]);
      await engine[Symbol.asyncDispose]();
      rmSync(engine.directory, { recursive: true, force: true });
    });
  }

  /** The command line to its end, whatever it says. */
  ask(args: readonly string[], input?: Buffer | string): Answer {
    const ran = spawnSync("docker", args, {
      env: { ...process.env, DOCKER_HOST: `unix://${this.#socket}`, DOCKER_CONFIG: this.#config },
      input: input ?? "",
      timeout: PATIENCE,
      killSignal: "SIGKILL",
      maxBuffer: 1 << 30,
    });
    return { code: ran.status, stdout: ran.stdout, stderr: ran.stderr?.toString() ?? "" };
  }

  /** Its output, without the line's end. Throws where it failed. */
  docker(...args: string[]): string {
    return this.bytes(args).toString().trimEnd();
  }

  /** Its output as it is. Throws where it failed. */
  bytes(args: readonly string[], input?: Buffer | string): Buffer {
    const { code, stdout, stderr } = this.ask(args, input);
    if (code === 0) return stdout;
    throw new Error(`${this.name}: docker ${args.join(" ")}: exit code ${code}\n${stderr}`);
  }

  /** An image by what must stay the same wherever it goes. */
  identity(image: string): { id: string; layers: string[] } {
    const [found] = JSON.parse(this.docker("image", "inspect", image));
    return { id: found.Id, layers: found.RootFS.Layers };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
  }
}
