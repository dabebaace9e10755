import { runContainer } from "#oci/run.ts";
import { takeWords } from "../arguments.ts";
import type { Command } from "../command.ts";
import { CREATE_OPTIONS, createOptions } from "./create.ts";

export const run: Command = {
  usage: "run ID",
  summary: "create and start; in the foreground, hand back the exit code and remove the container",
  options: { ...CREATE_OPTIONS, "detach d": "flag", keep: "flag", "no-subreaper": "flag" },
  async run({ states, systemdCgroup }, args) {
    const [id = ""] = takeWords("run", args.rest, "container id");
    const foreground = !args.flag("detach");
    return await runContainer(states, {
      ...createOptions(args),
      systemdCgroup,
      id,
      foreground,
      keep: args.flag("keep"),
    });
  },
};
