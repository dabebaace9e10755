import { features as describeFeatures } from "#runtime/features.ts";
import { takeWords } from "../arguments.ts";
import type { Command } from "../command.ts";

export const features: Command = {
  usage: "features",
  summary: "print what this runtime can do as JSON",
  options: {},
  run(_, args) {
    takeWords("features", args.rest);
    process.stdout.write(`${JSON.stringify(describeFeatures(), null, 4)}\n`);
    return 0;
  },
};
