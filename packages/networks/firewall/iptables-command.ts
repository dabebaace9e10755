/**
 * Runs iptables-save and iptables-restore. The only module of the package that starts processes; never called on the
 * way of a container that publishes nothing.
 */
import { BerthError } from "#errors/errors.ts";
import { type CommandEnd, runCommand } from "#kernel/run-command.ts";
import { isErrno } from "#kernel/syscall-error.ts";
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

async function run(command: string, args: string[], input: string): Promise<string> {
  let ended: CommandEnd;
  try {
    ended = await runCommand(command, args, { input, env: { PATH: path, LC_ALL: "C" }, timeout: deadline });
  } catch (cause) {
    throw notStarted(command, cause);
  }
  if (ended.status === 0) return ended.output;
  throw failed(command, input, ended);
}

function notStarted(command: string, cause: unknown): BerthError {
  const missing = isErrno(cause, "ENOENT");
  return new BerthError(
    "internal",
    missing ? `${command} not found` : `cannot run ${command}: ${String(cause)}`,
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

function failed(command: string, input: string, { status, signal, complaints }: CommandEnd): BerthError {
  const how = signal === undefined ? `exit status ${status}` : `killed by ${signal}`;
  const complaint = complaints.trim();
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
