/** `berth wait`: prints exit codes. */
import { type Command, forEach } from "#cli/command.ts";

const command: Command = {
  usage: "CONTAINER [CONTAINER...]",
  flags: [],
  takes: [1, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    const client = await context.client();
    return await forEach(flags.positional, context, async (name) => {
      const answer = await client.json<{ StatusCode: number; Error?: { Message: string } }>(
        "POST",
        `/containers/${encodeURIComponent(name)}/wait`,
      );
      if (answer.Error?.Message) throw new Error(answer.Error.Message);
      return String(answer.StatusCode);
    });
  },
};
export default command;
