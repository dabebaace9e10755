/** `berth diff` */
import type { Command } from "#cli/command.ts";

const letters = ["C", "A", "D"];

const command: Command = {
  usage: "CONTAINER",
  flags: [],
  takes: [1, 1],
  async run(flags, context) {
    const [name = ""] = flags.positional;
    if (name === "") throw new Error("Container name cannot be empty");
    const client = await context.client();
    const path = `/containers/${encodeURIComponent(name)}/changes`;
    const changes = await client.json<{ Path: string; Kind: number }[] | null>("GET", path);
    for (const { Path, Kind } of changes ?? []) context.stdout.write(`${letters[Kind] ?? "?"} ${Path}\n`);
    return 0;
  },
};
export default command;
