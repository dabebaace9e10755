/**
 * The command line: global flags, then a command or a group and its command. Turns every failure into the words and
 * the exit code that Docker's command line would use for it.
 */

import { type Command, type Context, ExitError, messageOf } from "#cli/command.ts";
import { commands, type Entry, groups } from "#cli/command-table.ts";
import { type FlagValues, parseFlags, UsageError } from "#cli/flags.ts";
import { commandHelp, globalFlags, groupHelp, topHelp, usageLine } from "#cli/help.ts";
import { BERTH_VERSION } from "#cli/version.ts";
import type { EndpointFlags } from "#client/endpoint.ts";

/** Makes the context once the global flags are known. */
export type MakeContext = (flags: EndpointFlags) => Context;

export interface Output {
  stdout: { write(text: string): unknown };
  stderr: { write(text: string): unknown };
}

/** Runs a command line and resolves with its exit code. Never rejects. */
export async function main(
  argv: readonly string[],
  output: Output,
  makeContext: MakeContext,
): Promise<number> {
  let debug = false;
  try {
    const global = parseFlags(globalFlags, argv, { interspersed: false });
    debug = global.bool("debug");
    const [word, ...rest] = global.positional;
    if (global.bool("version")) {
      output.stdout.write(`Berth version ${BERTH_VERSION}\n`);
      return 0;
    }
    if (word === undefined || global.bool("help")) {
      output.stdout.write(topHelp());
      return 0;
    }
    if (word === "help") return await main([...rest, "--help"], output, makeContext);
    const group = own(groups, word);
    if (!group) return await dispatch(word, own(commands, word), rest, output, global, makeContext);
    const [subword, ...subrest] = rest;
    if (subword === undefined || subword === "--help" || subword === "-h") {
      output.stdout.write(groupHelp(word, group.summary, group.commands));
      return 0;
    }
    const name = `${word} ${subword}`;
    return await dispatch(name, own(group.commands, subword), subrest, output, global, makeContext);
  } catch (error) {
    if (debug && error instanceof Error) output.stderr.write(`${error.stack}\n`);
    if (error instanceof ExitError) {
      const help =
        error.helpOf === undefined ? "" : `\n\nRun 'berth ${error.helpOf} --help' for more information`;
      if (error.message !== "") output.stderr.write(`${error.message}${help}\n`);
      return error.exitCode;
    }
    if (error instanceof UsageError) output.stderr.write(`${error.message}\nSee 'berth --help'.\n`);
    else output.stderr.write(`${messageOf(error)}\n`);
    return error instanceof UsageError ? 125 : 1;
  }
}

function own<T>(table: Record<string, T>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

async function dispatch(
  name: string,
  entry: Entry | undefined,
  argv: readonly string[],
  output: Output,
  global: FlagValues,
  makeContext: MakeContext,
): Promise<number> {
  if (entry === undefined) {
    const [group, sub] = name.split(" ");
    const place = sub === undefined ? "berth" : `berth ${group}`;
    const usage = sub === undefined ? "" : `Usage:  ${place}\n\n`;
    output.stderr.write(
      `berth: unknown command: berth ${name}\n\n${usage}Run '${place} --help' for more information\n`,
    );
    return 1;
  }
  const command = (await entry.load()).default;
  const asksForHelp =
    argv[0] === "--help" || (argv[0] === "-h" && !command.flags.some((flag) => flag.short === "h"));
  if (asksForHelp) {
    output.stdout.write(commandHelp(name, command, entry.summary));
    return 0;
  }
  const flags = readFlags(name, command, argv, output);
  if (flags === undefined) return 125;
  if (flags === "help") {
    output.stdout.write(commandHelp(name, command, entry.summary));
    return 0;
  }
  const [least, most] = command.takes;
  const count = flags.positional.length;
  if (count < least || count > most) {
    // Docker's words differ by how many it takes; scripts and people's eyes know them so.
    const word = most === Number.POSITIVE_INFINITY ? "See" : "Run";
    const more = `${usageLine(name, command)}\n\n${word} 'berth ${name} --help' for more information`;
    output.stderr.write(`berth: 'berth ${name}' ${takes(least, most)}\n\n${more}\n`);
    return 1;
  }
  return await command.run(flags, makeContext(endpointFlags(global)));
}

function readFlags(
  name: string,
  command: Command,
  argv: readonly string[],
  output: Output,
): FlagValues | "help" | undefined {
  const help = { name: "help", type: "bool", help: "Show this", hidden: true };
  const known = command.flags.some((flag) => flag.name === "help") ? command.flags : [...command.flags, help];
  try {
    const flags = parseFlags(known, argv, { interspersed: !command.stopsAtArgument });
    return flags.bool("help") ? "help" : flags;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const more = `Run 'berth ${name} --help' for more information`;
    output.stderr.write(`${error.message}\n\n${usageLine(name, command)}\n\n${more}\n`);
    return undefined;
  }
}

function takes(least: number, most: number): string {
  const plural = (count: number) => `${count} argument${count === 1 ? "" : "s"}`;
  if (most === 0) return "accepts no arguments";
  if (least === most) return `requires ${plural(least)}`;
  if (most === Number.POSITIVE_INFINITY) return `requires at least ${plural(least)}`;
  return least === 0
    ? `requires at most ${plural(most)}`
    : `requires at least ${least} and at most ${plural(most)}`;
}

function endpointFlags(global: FlagValues): EndpointFlags {
  return {
    host: global.string("host"),
    tls: global.bool("tls"),
    tlsVerify: global.bool("tlsverify"),
    tlsCaCert: global.string("tlscacert"),
    tlsCert: global.string("tlscert"),
    tlsKey: global.string("tlskey"),
  };
}
