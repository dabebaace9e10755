/** `berth exec` */
import type { ExecInspect } from "#api-types/container.ts";
import { type Command, ExitError, messageOf } from "#cli/command.ts";
import { environment } from "#cli/run/environment.ts";
import { startFailureCode } from "#cli/run/make-container.ts";
import { checkEnvironment } from "#cli/run/simple-values.ts";
import { followSize, rawMode } from "#cli/terminal/raw-mode.ts";
import { runSession } from "#cli/terminal/session.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
  flags: [
    { name: "detach", short: "d", type: "bool", help: "Leave it running" },
    { name: "detach-keys", type: "string", help: "Keys that leave it running (ctrl-p,ctrl-q)" },
    {
      name: "env",
      short: "e",
      type: "list",
      many: true,
      parse: checkEnvironment,
      help: "Set an environment variable",
    },
    { name: "env-file", type: "list", many: true, help: "File of environment variables" },
    { name: "interactive", short: "i", type: "bool", help: "Keep stdin open" },
    { name: "privileged", type: "bool", help: "Give every privilege" },
    { name: "tty", short: "t", type: "bool", help: "Give it a terminal" },
    { name: "user", short: "u", type: "string", help: "User, name or number, and group (user[:group])" },
    { name: "workdir", short: "w", type: "string", help: "Working directory" },
  ],
  takes: [2, Number.POSITIVE_INFINITY],
  stopsAtArgument: true,
  async run(flags, context) {
    const [name = "", ...argv] = flags.positional;
    const detach = flags.bool("detach");
    const tty = flags.bool("tty");
    const stdin = !detach && flags.bool("interactive");
    const detachKeys = flags.string("detach-keys");
    if (tty && stdin && !context.stdin.isTTY) throw new ExitError(1, "the input device is not a TTY");
    const { rows = 0, columns = 0 } = context.stdout;
    const size = tty && rows > 0 && columns > 0 ? { ConsoleSize: [rows, columns] } : {};
    const readFile = (path: string) => context.readFile(path);
    const client = await context.client();
    const { Id } = await client.json<{ Id: string }>("POST", `/containers/${encodeURIComponent(name)}/exec`, {
      body: {
        User: flags.string("user"),
        Privileged: flags.bool("privileged"),
        Tty: tty,
        AttachStdin: stdin,
        AttachStderr: !detach,
        AttachStdout: !detach,
        DetachKeys: detachKeys,
        Env: environment(flags.list("env-file"), flags.list("env"), context.env, readFile),
        WorkingDir: flags.string("workdir"),
        Cmd: argv,
        ...size,
      },
    });
    const path = `/exec/${Id}`;
    const body = { Detach: detach, Tty: tty, ...size };
    try {
      if (detach) {
        await client.text("POST", `${path}/start`, { body });
        return 0;
      }
      const stream = await client.hijack("POST", `${path}/start`, { body });
      using _raw = tty && stdin ? rawMode(context) : undefined;
      using _size = tty
        ? followSize(context, (h, w) => client.text("POST", `${path}/resize`, { query: { h, w } }))
        : undefined;
      if ((await runSession(stream, { stdin, tty, detachKeys }, context)) === "detached") return 0;
    } catch (error) {
      const message = messageOf(error);
      const code = startFailureCode(message);
      throw new ExitError(code === 125 ? 1 : code, message);
    }
    return (await client.json<ExecInspect>("GET", `${path}/json`)).ExitCode ?? 0;
  },
};
export default command;
