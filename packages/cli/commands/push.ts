/** `berth push` */
import type { ProgressMessage } from "#api-types/image.ts";
import type { Command } from "#cli/command.ts";
import { encodeCredentials, registryHeader } from "#cli/credentials.ts";
import { splitImageName } from "#cli/image-name.ts";
import { showProgress } from "#cli/output/progress.ts";
import { jsonLines } from "#client/json-lines.ts";

const command: Command = {
  usage: "[OPTIONS] NAME[:TAG]",
  flags: [
    { name: "all-tags", short: "a", type: "bool", help: "Every tag of the repository" },
    { name: "disable-content-trust", type: "bool", help: "Accepted for old scripts", hidden: true },
    { name: "platform", type: "string", help: "Only if the image is for this platform (linux/arm64)" },
    { name: "quiet", short: "q", type: "bool", help: "Only the name" },
  ],
  takes: [1, 1],
  async run(flags, context) {
    const [name = ""] = flags.positional;
    const all = flags.bool("all-tags");
    const quiet = flags.bool("quiet");
    const { repository, tag: given } = splitImageName(name);
    if (name.includes("@")) throw new Error("cannot push a digest reference");
    if (all && given !== "") throw new Error("tag can't be used with --all-tags/-a");
    const tag = all ? "" : given || "latest";
    if (!all && given === "" && !quiet) context.stdout.write("Using default tag: latest\n");
    const client = await context.client();
    const pushed = await client.request("POST", `/images/${repository}/push`, {
      query: { ...(tag === "" ? {} : { tag }), ...platformQuery(flags.string("platform")) },
      // Without credentials still with the header: dockerd insists on it.
      headers: { "X-Registry-Auth": registryHeader(repository, context.env) ?? encodeCredentials({}) },
    });
    await showProgress(jsonLines<ProgressMessage>(pushed), quiet ? { write() {} } : context.stdout);
    if (quiet) context.stdout.write(`${all ? repository : `${repository}:${tag}`}\n`);
    return 0;
  },
};
export default command;

/** The API wants a platform as JSON. */
function platformQuery(text: string): { platform?: string } {
  if (text === "") return {};
  const [os = "", architecture = "", variant] = text.split("/");
  return { platform: JSON.stringify({ os, architecture, ...(variant === undefined ? {} : { variant }) }) };
}
