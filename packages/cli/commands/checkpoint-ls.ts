/** `berth checkpoint ls` */
import type { Command } from "#cli/command.ts";
import { renderList } from "#cli/output/table.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER",
  flags: [{ name: "checkpoint-dir", type: "string", help: "Directory they are in" }],
  takes: [1, 1],
  async run(flags, context) {
    const [name = ""] = flags.positional;
    const client = await context.client();
    const list = await client.json<{ Name: string }[]>(
      "GET",
      `/containers/${encodeURIComponent(name)}/checkpoints`,
      { query: { dir: flags.string("checkpoint-dir") } },
    );
    const format = { columns: "{{.Name}}", headings: { Name: "CHECKPOINT NAME" }, quiet: "Name" };
    context.stdout.write(renderList(list, format, ""));
    return 0;
  },
};
export default command;
