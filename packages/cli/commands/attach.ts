/** `berth attach` */
import type { ContainerInspect } from "#api-types/container.ts";
import { type Command, type Context, ExitError } from "#cli/command.ts";
import { waitFor } from "#cli/run/wait-for.ts";
import { followSize, rawMode } from "#cli/terminal/raw-mode.ts";
import { runSession } from "#cli/terminal/session.ts";
import { proxySignals } from "#cli/terminal/signals.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER",
  flags: [
    { name: "detach-keys", type: "string", help: "Keys that leave it running (ctrl-p,ctrl-q)" },
    { name: "no-stdin", type: "bool", help: "Only its output" },
    { name: "sig-proxy", type: "bool", help: "Pass signals on to it (default true)" },
  ],
  takes: [1, 1],
  async run(flags, context) {
    const [name = ""] = flags.positional;
    const client = await context.client();
    const container = await client.json<ContainerInspect>(
      "GET",
      `/containers/${encodeURIComponent(name)}/json`,
    );
    const { State, Config } = container;
    if (!State.Running) throw new Error("cannot attach to a stopped container, start it first");
    if (State.Paused) throw new Error("cannot attach to a paused container, unpause it first");
    if (State.Restarting)
      throw new Error("cannot attach to a restarting container, wait until it is running");
    return await attachTo(container.Id, context, {
      tty: Config.Tty === true,
      stdin: !flags.bool("no-stdin") && Config.OpenStdin === true,
      detachKeys: flags.string("detach-keys"),
      proxy: !flags.has("sig-proxy") || flags.bool("sig-proxy"),
    });
  },
};
export default command;

export interface AttachTo {
  tty: boolean;
  stdin: boolean;
  detachKeys: string;
  proxy: boolean;
  /** Called when the streams are joined, before anything is awaited from them. */
  start?: () => Promise<void>;
}

/** Joins a container's streams until it ends or the user leaves; the exit code. */
export async function attachTo(id: string, context: Context, options: AttachTo): Promise<number> {
  const { tty, stdin, detachKeys } = options;
  if (tty && stdin && !context.stdin.isTTY) throw new ExitError(1, "the input device is not a TTY");
  const client = await context.client();
  const path = `/containers/${id}`;
  const query = { stream: 1, stdout: 1, stderr: 1, ...(stdin && { stdin: 1 }), detachKeys };
  const [stream, { code }] = await Promise.all([
    client.hijack("POST", `${path}/attach`, { query }),
    waitFor(client, id, options.start ? "next-exit" : "not-running"),
  ]);
  using _signals =
    options.proxy && !tty
      ? proxySignals((signal) => client.text("POST", `${path}/kill`, { query: { signal } }))
      : undefined;
  using _raw = tty && stdin ? rawMode(context) : undefined;
  const session = runSession(stream, { stdin, tty, detachKeys }, context);
  session.catch(() => {});
  try {
    await options.start?.();
  } catch (error) {
    stream.socket.destroy();
    throw error;
  }
  using _size = tty
    ? followSize(context, (h, w) => client.text("POST", `${path}/resize`, { query: { h, w } }))
    : undefined;
  if ((await session) === "detached") return 0;
  return await code;
}
