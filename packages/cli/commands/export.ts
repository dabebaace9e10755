/** `berth export` */
import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import type { Command } from "#cli/command.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER",
  flags: [{ name: "output", short: "o", type: "string", help: "File to write instead of stdout" }],
  takes: [1, 1],
  async run(flags, context) {
    const [name = ""] = flags.positional;
    const output = flags.string("output");
    if (output === "" && context.stdout.isTTY) {
      throw new Error("cowardly refusing to save to a terminal. Use the -o flag or redirect");
    }
    const client = await context.client();
    const archive = await client.request("GET", `/containers/${encodeURIComponent(name)}/export`);
    const target = output === "" ? context.stdout : createWriteStream(output, { mode: 0o600 });
    await pipeline(archive, target, { end: output !== "" });
    return 0;
  },
};
export default command;
