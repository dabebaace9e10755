/** `berth system prune` */
import type { Command } from "#cli/command.ts";
import { confirm } from "#cli/prune/confirm.ts";
import { forceFlag, pruneFilterFlag } from "#cli/prune/prune-command.ts";
import {
  type Filter,
  type Pruned,
  pruneBuildCache,
  pruneContainers,
  pruneImages,
  pruneNetworks,
  pruneVolumes,
} from "#cli/prune/pruners.ts";
import { humanSize } from "#go-values/size.ts";

const command: Command = {
  usage: "[OPTIONS]",
  flags: [
    { name: "all", short: "a", type: "bool", help: "All images that no container uses, with a name too" },
    pruneFilterFlag,
    forceFlag,
    { name: "volumes", type: "bool", help: "Anonymous volumes too" },
  ],
  takes: [0, 0],
  async run(flags, context) {
    const all = flags.bool("all");
    const volumes = flags.bool("volumes");
    const filters = flags.list<Filter>("filter");
    if (volumes && filters.some(([name]) => name === "until"))
      throw new Error('ERROR: The "until" filter is not supported with "--volumes"');
    if (!flags.bool("force") && !(await confirm(context, question(all, volumes, filters)))) return 0;
    const client = await context.client();
    let reclaimed = 0;
    const tell = (pruned: Pruned) => {
      context.stdout.write(pruned.text);
      reclaimed += pruned.reclaimed ?? 0;
    };
    // Containers first: what only they use goes with them.
    tell(await pruneContainers(client, filters));
    tell(await pruneNetworks(client, filters));
    if (volumes) tell(await pruneVolumes(client, filters, false));
    tell(await pruneImages(client, filters, all));
    tell(await pruneBuildCache(client, filters, all));
    context.stdout.write(`Total reclaimed space: ${humanSize(reclaimed)}\n`);
    return 0;
  },
};
export default command;

function question(all: boolean, volumes: boolean, filters: readonly Filter[]): string {
  const losses = [
    "all stopped containers",
    "all networks not used by at least one container",
    ...(volumes ? ["all anonymous volumes not used by at least one container"] : []),
    all ? "all images without at least one container associated to them" : "all dangling images",
    all ? "all build cache" : "unused build cache",
  ];
  const list = (lines: readonly string[]) => lines.map((line) => `  - ${line}\n`).join("");
  const shown = filters.map(([name, value]) => `${name}=${value}`).sort();
  const filtered = shown.length === 0 ? "" : `\n  Items to be pruned will be filtered with:\n${list(shown)}`;
  return `WARNING! This will remove:\n${list(losses)}${filtered}\nAre you sure you want to continue?`;
}
