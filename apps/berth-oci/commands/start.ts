import { startContainer } from "#oci/start.ts";
import { takeWords } from "../arguments.ts";
import type { Command } from "../command.ts";

export const start: Command = {
  usage: "start ID",
  summary: "start the program of a created container",
  options: {},
  async run({ states }, args) {
    const [id = ""] = takeWords("start", args.rest, "container id");
    await startContainer(states, states.load(id));
    return 0;
  },
};
