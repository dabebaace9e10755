/** `berth logs` */
import type { Command } from "#cli/command.ts";
import { parseTime } from "#cli/times.ts";
import { copyOutput } from "#client/demultiplex.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER",
  flags: [
    { name: "details", type: "bool", help: "The log driver's attributes too" },
    { name: "follow", short: "f", type: "bool", help: "Go on as more is printed" },
    { name: "since", type: "string", help: "Not what is older (a time, or a length of time such as 42m)" },
    { name: "tail", short: "n", type: "string", help: "Only so many lines from the end" },
    { name: "timestamps", short: "t", type: "bool", help: "Put the time before each line" },
    { name: "until", type: "string", help: "Not what is newer" },
  ],
  takes: [1, 1],
  async run(flags, context) {
    const [name = ""] = flags.positional;
    const now = Date.now();
    const client = await context.client();
    const logs = await client.request("GET", `/containers/${encodeURIComponent(name)}/logs`, {
      query: {
        stdout: 1,
        stderr: 1,
        ...(flags.bool("follow") && { follow: 1 }),
        ...(flags.bool("timestamps") && { timestamps: 1 }),
        ...(flags.bool("details") && { details: 1 }),
        since: parseTime(flags.string("since"), now),
        until: parseTime(flags.string("until"), now),
        tail: flags.string("tail") || "all",
      },
    });
    const multiplexed = logs.headers["content-type"]?.includes("multiplexed") ?? true;
    await copyOutput(logs, multiplexed, context.stdout, context.stderr);
    return 0;
  },
};
export default command;
