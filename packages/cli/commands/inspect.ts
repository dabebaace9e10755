/** `berth inspect`: any object, whatever its kind; containers first, as Docker looks. */
import type { Command } from "#cli/command.ts";
import { findAt, formatFlag, inspectAll } from "#cli/output/inspect.ts";
import { typedImage } from "#cli/output/typed-image.ts";

const kinds: Record<string, (name: string, size: boolean) => string> = {
  container: (name, size) => `/containers/${encodeURIComponent(name)}/json${size ? "?size=1" : ""}`,
  image: (name) => `/images/${name}/json`,
  network: (name) => `/networks/${encodeURIComponent(name)}`,
  volume: (name) => `/volumes/${encodeURIComponent(name)}`,
};

const command: Command = {
  usage: "[OPTIONS] NAME|ID [NAME|ID...]",
  flags: [
    formatFlag,
    { name: "size", short: "s", type: "bool", help: "Sizes of a container's files too" },
    { name: "type", type: "string", help: "Kind of object: container, image, network or volume" },
  ],
  takes: [1, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    const type = flags.string("type");
    if (type !== "" && !Object.hasOwn(kinds, type)) throw new Error(`unknown type: ${JSON.stringify(type)}`);
    const client = await context.client();
    const images = new Set<unknown>();
    const find = async (name: string) => {
      for (const [kind, path] of Object.entries(kinds)) {
        if (type !== "" && kind !== type) continue;
        const object = await findAt(client, path(name, flags.bool("size")));
        if (kind === "image") images.add(object);
        if (object !== undefined) return object;
      }
      throw new Error(`Error: No such ${type || "object"}: ${name}`);
    };
    const typed = (object: unknown) => (images.has(object) ? typedImage(object) : object);
    return await inspectAll(flags.positional, flags.string("format"), find, context, typed);
  },
};
export default command;
