/**
 * Runs iptables-save and iptables-restore. The only module of the package that starts processes; never called on the
 * way of a container that publishes nothing.
 */
import { spawn } from "node:child_process";
import { BerthError } from "#errors/errors.ts";
import type { Family } from "#networks/ipam/prefix.ts";

/** Seconds to wait for others who are changing rules (old variants lock). */
const lockSeconds = 10;
/** Milliseconds after which the command is given up. */
const deadline = 30_000;
/** How often a change is tried that rests on rules seen before. */
const attempts = 5;
/** iptables lives where the path of a service often does not look. */
const path = [process.env.PATH, "/usr/sbin", "/sbin", "/usr/local/sbin"].filter(Boolean).join(":");

/** The commands of one variant: "iptables" for what the host has chosen, "iptables-nft" or "iptables-legacy". */
export class IptablesCommand {
  readonly #variant: string;

  constructor(variant: "iptables" | "iptables-nft" | "iptables-legacy" = "iptables") {
    this.#variant = variant;
  }

  #name(family: Family, verb: "save" | "restore"): string {
    const variant = family === 4 ? this.#variant : this.#variant.replace("iptables", "ip6tables");
    return `${variant}-${verb}`;
  }

  /** All rules of all tables, as iptables-save prints them. */
  save(family: Family): Promise<string> {
    return run(this.#name(family, "save"), [], "");
  }

  /** Applies a text of rules, leaving alone what it does not name. Each table changes all at once or not at all. */
  async restore(text: string, family: Family): Promise<void> {
    if (text === "") return;
    await run(this.#name(family, "restore"), ["--noflush", "-w", String(lockSeconds)], text);
  }

  /**
   * Gives what `compose` makes of all rules as they are to `restore`. Others change rules, too: where one that was seen is gone by
   * then, the whole text is refused, and made again.
   */
  async change(
    compose: (saved: string) => string,
    restore: (text: string) => Promise<void>,
    family: Family,
  ): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await restore(compose(await this.save(family)));
        return;
      } catch (error) {
        if (attempt === attempts) throw error;
      }
    }
  }
}

function run(command: string, args: string[], input: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { PATH: path, LC_ALL: "C" },
      timeout: deadline,
      killSignal: "SIGKILL",
    });
    const output: Buffer[] = [];
    const complaints: Buffer[] = [];
    child.stdout.on("data", (data: Buffer) => output.push(data));
    child.stderr.on("data", (data: Buffer) => complaints.push(data));
    child.once("error", (cause: NodeJS.ErrnoException) => reject(notStarted(command, cause)));
    child.once("close", (status, signal) => {
      if (status === 0) resolve(Buffer.concat(output).toString());
      else reject(failed(command, input, status, signal, Buffer.concat(complaints).toString().trim()));
    });
    // A command that ends early is reported by its status, not by the broken pipe.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

function notStarted(command: string, cause: NodeJS.ErrnoException): BerthError {
  const missing = cause.code === "ENOENT";
  return new BerthError(
    "internal",
    missing ? `${command} not found` : `cannot run ${command}: ${cause.message}`,
    {
      operation: "change the firewall",
      object: command,
      ...(missing && {
        hint: "install it (apt-get install iptables), or start the daemon with --iptables=false and without published ports",
      }),
      cause,
    },
  );
}

function failed(
  command: string,
  input: string,
  status: number | null,
  signal: string | null,
  complaint: string,
): BerthError {
  const how = signal === null ? `exit status ${status}` : `killed by ${signal}`;
  const number = /line:? (\d+)/.exec(complaint)?.[1];
  const line = number === undefined ? undefined : input.split("\n")[Number(number) - 1];
  return new BerthError(
    "internal",
    `${command} failed (${how}): ${complaint}${line === undefined ? "" : `: ${line}`}`,
    {
      operation: "change the firewall",
      object: command,
      hint: "the kernel or another program refused the rule; `iptables-save` shows what is there",
    },
  );
}
