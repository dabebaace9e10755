/** `berth import` */
import type { ProgressMessage } from "#api-types/image.ts";
import type { Command } from "#cli/command.ts";
import { splitImageName } from "#cli/image-name.ts";
import { openInput } from "#cli/open-input.ts";
import { showProgress } from "#cli/output/progress.ts";
import { jsonLines } from "#client/json-lines.ts";

const command: Command = {
  usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
  flags: [
    { name: "change", short: "c", type: "list", many: true, help: "Dockerfile instruction to apply" },
    { name: "message", short: "m", type: "string", help: "Comment of the image" },
    { name: "platform", type: "string", help: "Platform of the image (linux/arm64)" },
  ],
  takes: [1, 2],
  async run(flags, context) {
    const [source = "", name = ""] = flags.positional;
    const isUrl = /^https?:\/\//.test(source);
    const stream = isUrl ? undefined : source === "-" ? context.stdin : await openInput(source);
    const { repository, tag } = splitImageName(name);
    const client = await context.client();
    const messages = await client.request("POST", "/images/create", {
      query: {
        fromSrc: isUrl ? source : "-",
        repo: repository,
        tag,
        message: flags.string("message"),
        changes: flags.list("change"),
        platform: flags.string("platform"),
      },
      ...(stream && { stream }),
    });
    await showProgress(jsonLines<ProgressMessage>(messages), context.stdout);
    return 0;
  },
};
export default command;
