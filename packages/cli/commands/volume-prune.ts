/** `berth volume prune` */
import { pruneCommand } from "#cli/prune/prune-command.ts";
import { pruneVolumes } from "#cli/prune/pruners.ts";

export default pruneCommand({
  warning: (all) => `${all ? "all" : "anonymous"} local volumes not used by at least one container`,
  prune: pruneVolumes,
  all: "All that no container uses, not only what has no name",
});
