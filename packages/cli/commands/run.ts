/** `berth run`: make, attach, start, wait; in this order, so that no output and no exit is missed. */
import { type Command, type Context, ExitError, messageOf } from "#cli/command.ts";
import type { Flag } from "#cli/flags.ts";
import { createFlags } from "#cli/run/create-flags.ts";
import type { ParsedCreate } from "#cli/run/create-request.ts";
import { FAILED, makeContainer, readRequest, startFailureCode } from "#cli/run/make-container.ts";
import { waitFor } from "#cli/run/wait-for.ts";
import { followSize, rawMode } from "#cli/terminal/raw-mode.ts";
import { runSession } from "#cli/terminal/session.ts";
import { proxySignals } from "#cli/terminal/signals.ts";

const runFlags: readonly Flag[] = [
  ...createFlags,
  { name: "detach", short: "d", type: "bool", help: "Leave it running and print its id" },
  { name: "detach-keys", type: "string", help: "Keys that leave it running (ctrl-p,ctrl-q)" },
  { name: "sig-proxy", type: "bool", help: "Pass signals on to it (default true)" },
];

const command: Command = {
  usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
  flags: runFlags,
  takes: [1, Number.POSITIVE_INFINITY],
  stopsAtArgument: true,
  async run(flags, context) {
    const parsed = readRequest("run", flags, context);
    if (flags.bool("detach")) {
      if (flags.has("attach"))
        throw new Error("conflicting options: cannot specify both --attach and --detach");
      Object.assign(parsed.request, {
        AttachStdin: false,
        AttachStdout: false,
        AttachStderr: false,
        StdinOnce: false,
      });
    } else if (parsed.request.Tty && parsed.request.AttachStdin && !context.stdin.isTTY)
      throw new ExitError(1, "the input device is not a TTY");
    const { rows = 0, columns = 0 } = context.stdout;
    if (parsed.request.HostConfig) parsed.request.HostConfig.ConsoleSize = [rows, columns];
    const id = await makeContainer("run", parsed, context);
    if (flags.bool("detach")) {
      await start(id, context);
      context.stdout.write(`${id}\n`);
      return 0;
    }
    return await runAttached(id, parsed, context);
  },
};
export default command;

async function runAttached(id: string, parsed: ParsedCreate, context: Context): Promise<number> {
  const { request, flags } = parsed;
  const client = await context.client();
  const path = `/containers/${id}`;
  const tty = request.Tty === true;
  const detachKeys = flags.string("detach-keys");
  const anything = request.AttachStdin || request.AttachStdout || request.AttachStderr;
  const [stream, { code: exit }] = await Promise.all([
    anything
      ? client.hijack("POST", `${path}/attach`, {
          query: {
            stream: 1,
            ...(request.AttachStdin && { stdin: 1 }),
            ...(request.AttachStdout && { stdout: 1 }),
            ...(request.AttachStderr && { stderr: 1 }),
            detachKeys,
          },
        })
      : undefined,
    waitFor(client, id, flags.bool("rm") ? "removed" : "next-exit"),
  ]);
  // A terminal's keys make signals inside the container; from outside, signals are passed on.
  const proxy = !tty && (!flags.has("sig-proxy") || flags.bool("sig-proxy"));
  using _signals = proxy
    ? proxySignals((signal) => client.text("POST", `${path}/kill`, { query: { signal } }))
    : undefined;
  using _raw = tty && request.AttachStdin ? rawMode(context) : undefined;
  // From before the start on, so that what the container prints at once is taken at once.
  const session =
    stream && runSession(stream, { stdin: request.AttachStdin === true, tty, detachKeys }, context);
  session?.catch(() => {});
  try {
    await start(id, context);
  } catch (error) {
    stream?.socket.destroy();
    // With --rm the daemon takes the container away again; its name is free when this is over.
    if (flags.bool("rm")) await exit.catch(() => FAILED);
    throw error;
  }
  using _size = tty
    ? followSize(context, (h, w) => client.text("POST", `${path}/resize`, { query: { h, w } }))
    : undefined;
  if ((await session) === "detached") return 0;
  return await exit;
}

async function start(id: string, context: Context): Promise<void> {
  const client = await context.client();
  try {
    await client.text("POST", `/containers/${id}/start`);
  } catch (error) {
    const message = messageOf(error);
    throw new ExitError(startFailureCode(message), `berth: ${message}`, "run");
  }
}
