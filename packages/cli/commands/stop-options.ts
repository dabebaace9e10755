/** What stop and restart share: how long to wait and what signal to send. */
import { type Context, forEach } from "#cli/command.ts";
import { type Flag, type FlagValues, parseInteger } from "#cli/flags.ts";

export const stopFlags: readonly Flag[] = [
  { name: "signal", short: "s", type: "string", help: "Signal to send" },
  { name: "time", type: "int", parse: parseInteger, help: "Seconds to wait before killing", hidden: true },
  { name: "timeout", short: "t", type: "int", parse: parseInteger, help: "Seconds to wait before killing" },
];

/** All at once, as Docker does: ten containers take no longer than one; told in the order they were named. */
export async function stopEach(
  verb: "stop" | "restart",
  flags: FlagValues,
  context: Context,
): Promise<number> {
  const client = await context.client();
  const t = flags.value<number>("timeout") ?? flags.value<number>("time");
  const requests = new Map(
    flags.positional.map((name) => {
      const path = `/containers/${encodeURIComponent(name)}/${verb}`;
      const request = client.text("POST", path, { query: { t, signal: flags.string("signal") } });
      // Each is looked at in turn below; until then a failure has nobody waiting for it.
      request.catch(() => {});
      return [name, request];
    }),
  );
  return await forEach([...requests.keys()], context, async (name) => {
    await requests.get(name);
    return name;
  });
}
