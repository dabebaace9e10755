/** `berth network prune` */
import { pruneCommand } from "#cli/prune/prune-command.ts";
import { pruneNetworks } from "#cli/prune/pruners.ts";

export default pruneCommand({
  warning: () => "all custom networks not used by at least one container",
  prune: pruneNetworks,
});
