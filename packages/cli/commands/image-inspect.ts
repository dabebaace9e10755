/** `berth image inspect` */
import { inspectCommand } from "#cli/output/inspect.ts";
import { typedImage } from "#cli/output/typed-image.ts";

export default inspectCommand("[OPTIONS] IMAGE [IMAGE...]", (name) => `/images/${name}/json`, typedImage);
