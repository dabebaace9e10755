/** `berth debug program`: the program of system calls of a container's last start. */
import type { Command } from "#cli/command.ts";

const command: Command = {
  usage: "CONTAINER",
  flags: [],
  takes: [1, 1],
  async run(flags, context) {
    const [name = ""] = flags.positional;
    const client = await context.client();
    const text = await client.text("GET", `/berth/containers/${encodeURIComponent(name)}/program`);
    context.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
    return 0;
  },
};
export default command;
