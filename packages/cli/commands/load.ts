/** `berth load` */
import type { ProgressMessage } from "#api-types/image.ts";
import type { Command } from "#cli/command.ts";
import { openInput } from "#cli/open-input.ts";
import { showProgress } from "#cli/output/progress.ts";
import { jsonLines } from "#client/json-lines.ts";

const command: Command = {
  usage: "[OPTIONS]",
  flags: [
    { name: "input", short: "i", type: "string", help: "Archive to read instead of stdin" },
    { name: "platform", type: "string", help: "Only this platform (linux/arm64)" },
    { name: "quiet", short: "q", type: "bool", help: "No progress" },
  ],
  takes: [0, 0],
  async run(flags, context) {
    const path = flags.string("input");
    if (path === "" && context.stdin.isTTY) throw new Error("requested load from stdin, but stdin is empty");
    const stream = path === "" ? context.stdin : await openInput(path);
    const client = await context.client();
    const messages = await client.request("POST", "/images/load", {
      query: { ...(flags.bool("quiet") && { quiet: 1 }), platform: flags.string("platform") },
      headers: { "Content-Type": "application/x-tar" },
      stream,
    });
    await showProgress(jsonLines<ProgressMessage>(messages), context.stdout);
    return 0;
  },
};
export default command;
