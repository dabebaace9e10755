/** `berth image inspect` */
import { inspectCommand } from "#cli/output/inspect.ts";

export default inspectCommand("[OPTIONS] IMAGE [IMAGE...]", (name) => `/images/${name}/json`);
