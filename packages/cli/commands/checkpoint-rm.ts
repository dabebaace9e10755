/** `berth checkpoint rm` */
import type { Command } from "#cli/command.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER CHECKPOINT",
  flags: [{ name: "checkpoint-dir", type: "string", help: "Directory it is in" }],
  takes: [2, 2],
  async run(flags, context) {
    const [name = "", checkpoint = ""] = flags.positional;
    const client = await context.client();
    const path = `/containers/${encodeURIComponent(name)}/checkpoints/${encodeURIComponent(checkpoint)}`;
    await client.text("DELETE", path, { query: { dir: flags.string("checkpoint-dir") } });
    return 0;
  },
};
export default command;
