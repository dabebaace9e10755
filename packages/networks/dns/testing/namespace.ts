/**
 * A network namespace for tests, with loopback and nothing else, held by a process that sleeps; and programs run in it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readlinkSync } from "node:fs";
import { createInterface } from "node:readline";
import { eventually } from "#test/fixtures/eventually.ts";

export class TestNamespace implements Disposable {
  readonly pid: number;
  readonly #holder: ChildProcess | undefined;
  readonly #started: ChildProcess[] = [];

  /** The namespace of a running process, or of one that was made for it. */
  constructor(pid: number, holder?: ChildProcess) {
    this.pid = pid;
    this.#holder = holder;
  }

  static async make(): Promise<TestNamespace> {
    const holder = spawn("unshare", ["-n", "sh", "-c", "ip link set lo up && exec sleep 1000"], {
      stdio: "ignore",
    });
    const pid = holder.pid ?? 0;
    const own = readlinkSync("/proc/self/ns/net");
    await eventually(() => {
      if (readlinkSync(`/proc/${pid}/ns/net`) === own) throw new Error("still in ours");
      if (readlinkSync(`/proc/${pid}/exe`).endsWith("sh")) throw new Error("loopback is not up yet");
    });
    await eventually(() => {
      if (!readlinkSync(`/proc/${pid}/exe`).endsWith("sleep")) throw new Error("not there yet");
    });
    return new TestNamespace(pid, holder);
  }

  /** What a program in the namespace prints. */
  run(...command: string[]): Promise<string> {
    return new Promise((resolve) => {
      const child = spawn("nsenter", ["-t", String(this.pid), "-n", ...command], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let text = "";
      child.stdout.on("data", (chunk) => {
        text += chunk;
      });
      child.on("close", () => resolve(text));
    });
  }

  /** Starts a program in the namespace that says "ready"; its lines go to `heard`. */
  async start(command: string[], heard: (line: string) => void = () => {}): Promise<void> {
    const child = spawn("nsenter", ["-t", String(this.pid), "-n", ...command], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#started.push(child);
    await new Promise<void>((resolve, reject) => {
      child.once("exit", () => reject(new Error(`${command.join(" ")} has ended`)));
      createInterface(child.stdout).on("line", (line) => {
        if (line === "ready") resolve();
        else heard(line);
      });
    });
  }

  /** The answers of `dig +short`, a line each. */
  async dig(...args: string[]): Promise<string[]> {
    const text = await this.run("dig", "@127.0.0.11", "+tries=1", "+time=60", "+short", ...args);
    return text.split("\n").filter(Boolean);
  }

  /** "NOERROR", "NXDOMAIN" …, and the flags. */
  async status(...args: string[]): Promise<{ status: string; flags: string }> {
    const text = await this.run("dig", "@127.0.0.11", "+tries=1", "+time=60", ...args);
    return {
      status: /status: (\w+)/.exec(text)?.[1] ?? text,
      flags: /flags: ([a-z ]+);/.exec(text)?.[1] ?? "",
    };
  }

  [Symbol.dispose](): void {
    for (const child of this.#started) child.kill("SIGKILL");
    this.#holder?.kill("SIGKILL");
  }
}
