/** `berth volume inspect` */
import { inspectCommand } from "#cli/output/inspect.ts";

export default inspectCommand(
  "[OPTIONS] VOLUME [VOLUME...]",
  (name) => `/volumes/${encodeURIComponent(name)}`,
);
