/** `berth container prune` */
import { pruneCommand } from "#cli/prune/prune-command.ts";
import { pruneContainers } from "#cli/prune/pruners.ts";

export default pruneCommand({ warning: () => "all stopped containers", prune: pruneContainers });
