/** `berth image prune` */
import { pruneCommand } from "#cli/prune/prune-command.ts";
import { pruneImages } from "#cli/prune/pruners.ts";

export default pruneCommand({
  warning: (all) =>
    all ? "all images without at least one container associated to them" : "all dangling images",
  prune: pruneImages,
  all: "All that no container uses, not only what has no name",
});
