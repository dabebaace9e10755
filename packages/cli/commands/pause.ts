/** `berth pause` */
import { type Command, forEach } from "#cli/command.ts";

const command: Command = {
  usage: "CONTAINER [CONTAINER...]",
  flags: [],
  takes: [1, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    const client = await context.client();
    return await forEach(flags.positional, context, async (name) => {
      await client.text("POST", `/containers/${encodeURIComponent(name)}/pause`);
      return name;
    });
  },
};
export default command;
