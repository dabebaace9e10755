/** `berth network inspect` */
import { inspectCommand } from "#cli/output/inspect.ts";

export default inspectCommand(
  "[OPTIONS] NETWORK [NETWORK...]",
  (name) => `/networks/${encodeURIComponent(name)}`,
);
