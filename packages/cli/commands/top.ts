/** `berth top`: the processes of a container, seen from the host. */
import type { Command } from "#cli/command.ts";
import { alignColumns } from "#cli/output/table.ts";

const command: Command = {
  usage: "CONTAINER [ps OPTIONS]",
  flags: [],
  stopsAtArgument: true,
  takes: [1, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    const [name = "", ...psOptions] = flags.positional;
    const client = await context.client();
    const { Titles, Processes } = await client.json<{ Titles: string[]; Processes: string[][] }>(
      "GET",
      `/containers/${encodeURIComponent(name)}/top`,
      { query: { ps_args: psOptions.join(" ") } },
    );
    context.stdout.write(`${alignColumns([Titles, ...Processes].map((row) => row.join("\t")))}\n`);
    return 0;
  },
};
export default command;
