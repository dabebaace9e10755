import { deleteContainer } from "#oci/delete.ts";
import { takeWords } from "../arguments.ts";
import type { Command } from "../command.ts";

export const remove: Command = {
  usage: "delete ID",
  summary: "give back all that a stopped container holds",
  options: { "force f": "flag" },
  async run({ states }, args) {
    const [id = ""] = takeWords("delete", args.rest, "container id");
    await deleteContainer(states, id, { force: args.flag("force") });
    return 0;
  },
};
