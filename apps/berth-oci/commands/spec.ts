import { takeWords } from "../arguments.ts";
import type { Command } from "../command.ts";
import { writeSpec } from "../write-spec.ts";

export const spec: Command = {
  usage: "spec",
  summary: "write a config.json to begin with",
  options: { "bundle b": "value", rootless: "flag" },
  run(_, args) {
    takeWords("spec", args.rest);
    writeSpec(args.value("bundle") ?? ".", { rootless: args.flag("rootless") });
    return 0;
  },
};
