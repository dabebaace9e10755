/** The commands that prune one kind of thing: they differ in the warning, in who does it, and in whether there is an --all. */
import type { Command } from "#cli/command.ts";
import type { Flag, FlagValues } from "#cli/flags.ts";
import { filterFlag } from "#cli/output/filters.ts";
import { confirm } from "#cli/prune/confirm.ts";
import type { Filter, Pruned } from "#cli/prune/pruners.ts";
import type { Client } from "#client/client.ts";
import { humanSize } from "#go-values/size.ts";

interface PruneCommand {
  /** What will be lost. */
  warning: (all: boolean) => string;
  prune: (client: Client, filters: readonly Filter[], all: boolean) => Promise<Pruned>;
  /** Help of --all, where there is one. */
  all?: string;
}

const SURE = "Are you sure you want to continue?";

export const forceFlag: Flag = { name: "force", short: "f", type: "bool", help: "Do not ask" };

/** Docker's prune commands know no short form. */
export const pruneFilterFlag: Flag = {
  name: "filter",
  type: "filter",
  many: true,
  ...(filterFlag.parse && { parse: filterFlag.parse }),
  help: filterFlag.help,
};

export function pruneCommand({ warning, prune, all }: PruneCommand): Command {
  const flags: Flag[] = [pruneFilterFlag, forceFlag];
  if (all !== undefined) flags.unshift({ name: "all", short: "a", type: "bool", help: all });
  return {
    usage: "[OPTIONS]",
    flags,
    takes: [0, 0],
    async run(given: FlagValues, context) {
      const everything = all !== undefined && given.bool("all");
      const question = `WARNING! This will remove ${warning(everything)}.\n${SURE}`;
      if (!given.bool("force") && !(await confirm(context, question))) return 0;
      const client = await context.client();
      const { text, reclaimed } = await prune(client, given.list<Filter>("filter"), everything);
      context.stdout.write(text);
      if (reclaimed !== undefined) context.stdout.write(`Total reclaimed space: ${humanSize(reclaimed)}\n`);
      return 0;
    },
  };
}
