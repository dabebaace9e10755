/** `berth container inspect` */
import { inspectCommand } from "#cli/output/inspect.ts";

export default inspectCommand(
  "[OPTIONS] CONTAINER [CONTAINER...]",
  (name) => `/containers/${encodeURIComponent(name)}/json`,
);
