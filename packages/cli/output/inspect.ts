/** `inspect` of whatever kind: a list of objects as JSON, or each through a template. */
import type { Command, Context } from "#cli/command.ts";
import { messageOf } from "#cli/command.ts";
import type { Flag } from "#cli/flags.ts";
import { goJson } from "#cli/output/table.ts";
import { type Client, DaemonError } from "#client/client.ts";
import { template } from "#go-template/template.ts";

export const formatFlag: Flag = {
  name: "format",
  short: "f",
  type: "string",
  help: "'json' or a Go template",
};

/** Fetches one object; undefined when this kind has none of that name. */
export type Find = (client: Client, name: string) => Promise<unknown>;

/** What a GET of that path gives; undefined for a 404. */
export async function findAt(client: Client, path: string): Promise<unknown> {
  try {
    return await client.json("GET", path);
  } catch (error) {
    if (error instanceof DaemonError && error.status === 404) return undefined;
    throw error;
  }
}

/** Prints what is found and tells what is not; 1 if anything was not. `typed`: how a template sees what was found. */
export async function inspectAll(
  names: readonly string[],
  format: string,
  find: (name: string) => Promise<unknown>,
  context: Context,
  typed: (object: unknown) => unknown = (object) => object,
): Promise<number> {
  const found: unknown[] = [];
  const problems: string[] = [];
  for (const name of names) {
    try {
      found.push(await find(name));
    } catch (error) {
      if (error instanceof Error && error.name === "NoDaemonError") throw error;
      problems.push(messageOf(error));
    }
  }
  if (format === "") context.stdout.write(`${JSON.stringify(found, null, 4)}\n`);
  else if (format === "json") context.stdout.write(`${goJson(found)}\n`);
  else {
    const compiled = template(format);
    for (const object of found) context.stdout.write(`${compiled(typed(object))}\n`);
    if (found.length === 0) context.stdout.write("\n");
  }
  for (const problem of problems) context.stderr.write(`${problem}\n`);
  return problems.length > 0 ? 1 : 0;
}

/** An inspect command of one kind of object; `typed` as for `inspectAll`. */
export function inspectCommand(
  usage: string,
  path: (name: string) => string,
  typed?: (object: unknown) => unknown,
): Command {
  return {
    usage,
    flags: [formatFlag],
    takes: [1, Number.POSITIVE_INFINITY],
    async run(given, context) {
      const client = await context.client();
      const find = async (name: string) => await client.json("GET", path(name));
      return await inspectAll(given.positional, given.string("format"), find, context, typed);
    },
  };
}
