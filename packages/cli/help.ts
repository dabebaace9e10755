/** Help texts, laid out as Docker's. */
import type { Command } from "#cli/command.ts";
import { commands, type Entry, groups } from "#cli/command-table.ts";
import type { Flag } from "#cli/flags.ts";

export const globalFlags: readonly Flag[] = [
  { name: "config", type: "string", help: "Directory of client settings" },
  { name: "debug", short: "D", type: "bool", help: "Show where errors come from" },
  { name: "help", type: "bool", help: "Show this" },
  { name: "host", short: "H", type: "string", help: "Address of the daemon" },
  { name: "log-level", short: "l", type: "string", help: "Accepted for old scripts", hidden: true },
  { name: "context", short: "c", type: "string", help: "Accepted for old scripts", hidden: true },
  { name: "tls", type: "bool", help: "Use TLS" },
  { name: "tlscacert", type: "string", help: "Certificates to trust" },
  { name: "tlscert", type: "string", help: "The client's certificate" },
  { name: "tlskey", type: "string", help: "The client's key" },
  { name: "tlsverify", type: "bool", help: "Use TLS and check the daemon's certificate" },
  { name: "version", short: "v", type: "bool", help: "Show the version" },
];

/** The two columns of a list of flags. */
export function flagLines(flags: readonly Flag[]): string {
  const rows = flags
    .filter((flag) => !flag.hidden)
    .map((flag) => {
      const short = flag.short ? `-${flag.short}, ` : "    ";
      return [`  ${short}--${flag.name}${flag.type === "bool" ? "" : ` ${flag.type}`}`, flag.help] as const;
    });
  const width = Math.max(0, ...rows.map(([left]) => left.length)) + 3;
  return rows.map(([left, help]) => `${left.padEnd(width)}${help}\n`).join("");
}

export function usageLine(name: string, command: Command): string {
  return `Usage:  berth ${name} ${command.usage}`.trimEnd();
}

export function commandHelp(name: string, command: Command, summary: string): string {
  const flags = flagLines(command.flags);
  return `${usageLine(name, command)}\n\n${summary}\n${flags === "" ? "" : `\nOptions:\n${flags}`}`;
}

function entryLines(entries: Record<string, { summary: string }>): string {
  const names = Object.keys(entries).sort();
  const width = Math.max(...names.map((name) => name.length)) + 2;
  return names.map((name) => `  ${name.padEnd(width)}${entries[name]?.summary ?? ""}\n`).join("");
}

export function groupHelp(name: string, summary: string, entries: Record<string, Entry>): string {
  const more = `\nRun 'berth ${name} COMMAND --help' for more information on a command.\n`;
  return `Usage:  berth ${name} COMMAND\n\n${summary}\n\nCommands:\n${entryLines(entries)}${more}`;
}

export function topHelp(): string {
  return [
    "Usage:  berth [OPTIONS] COMMAND\n\nRuns containers. Its commands and flags are those of docker.\n",
    `Commands:\n${entryLines(commands)}`,
    `Groups:\n${entryLines(groups)}`,
    `Global Options:\n${flagLines(globalFlags)}`,
    "Run 'berth COMMAND --help' for more information on a command.\n",
  ].join("\n");
}
