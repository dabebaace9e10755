/** `berth checkpoint create` */
import type { Command } from "#cli/command.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER CHECKPOINT",
  flags: [
    { name: "checkpoint-dir", type: "string", help: "Directory for it" },
    { name: "leave-running", type: "bool", help: "Let the container go on" },
  ],
  takes: [2, 2],
  async run(flags, context) {
    const [name = "", checkpoint = ""] = flags.positional;
    const client = await context.client();
    await client.text("POST", `/containers/${encodeURIComponent(name)}/checkpoints`, {
      body: {
        CheckpointID: checkpoint,
        CheckpointDir: flags.string("checkpoint-dir"),
        Exit: !flags.bool("leave-running"),
      },
    });
    context.stdout.write(`${checkpoint}\n`);
    return 0;
  },
};
export default command;
