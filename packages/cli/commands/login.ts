/** `berth login` */
import { createInterface } from "node:readline/promises";
import type { RegistryAuth } from "#api-types/image.ts";
import type { Command, Context } from "#cli/command.ts";
import { findCredentials, registryKey, storeCredentials } from "#cli/credentials.ts";
import type { FlagValues } from "#cli/flags.ts";
import { rawMode } from "#cli/terminal/raw-mode.ts";

const command: Command = {
  usage: "[OPTIONS] [SERVER]",
  flags: [
    { name: "password", short: "p", type: "string", help: "Password or access token" },
    { name: "password-stdin", type: "bool", help: "Read the password from standard input" },
    { name: "username", short: "u", type: "string", help: "User name" },
  ],
  takes: [0, 1],
  async run(flags, context) {
    const serveraddress = registryKey(flags.positional[0] ?? "");
    const auth = { ...(await credentials(flags, serveraddress, context)), serveraddress };
    const client = await context.client();
    const answer = await client.json<{ Status: string; IdentityToken?: string }>("POST", "/auth", {
      body: auth,
    });
    const token = answer.IdentityToken ?? "";
    const path = storeCredentials(
      serveraddress,
      token === "" ? auth : { username: auth.username ?? "", identitytoken: token },
      context.env,
    );
    context.stdout.write(`${answer.Status}\n`);
    if (path !== undefined) {
      context.stderr.write(
        `\nWARNING! Your credentials are stored unencrypted in '${path}'.\nA credential helper ("credsStore" in that file) keeps them safely.\n`,
      );
    }
    return 0;
  },
};
export default command;

async function credentials(flags: FlagValues, registry: string, context: Context): Promise<RegistryAuth> {
  const fromInput = flags.bool("password-stdin");
  let username = flags.string("username");
  if (fromInput && flags.has("password")) {
    throw new Error("conflicting options: cannot specify both --password and --password-stdin");
  }
  if (fromInput && username === "")
    throw new Error("the --password-stdin option requires --username to be set");
  if (fromInput) return { username, password: (await readAll(context)).replace(/\r?\n$/, "") };
  if (flags.has("password") && username !== "") {
    context.stderr.write("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
    return { username, password: flags.string("password") };
  }
  const kept = username === "" ? findCredentials(registry, context.env) : undefined;
  if (kept !== undefined) {
    context.stdout.write(`Authenticating with existing credentials...\n`);
    return kept;
  }
  if (!context.stdin.isTTY) throw new Error("cannot perform an interactive login from a non-TTY device");
  if (username === "") username = await ask("Username: ", context);
  if (username === "") throw new Error("username is required");
  const password = flags.has("password") ? flags.string("password") : await askSecret("Password: ", context);
  if (password === "") throw new Error("password is required");
  return { username, password };
}

async function readAll(context: Context): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of context.stdin) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces).toString("utf8");
}

async function ask(prompt: string, context: Context): Promise<string> {
  const lines = createInterface({ input: context.stdin, output: context.stdout });
  try {
    return (await lines.question(prompt)).trim();
  } finally {
    lines.close();
  }
}

/** A line that is not shown while it is typed. */
async function askSecret(prompt: string, context: Context): Promise<string> {
  context.stdout.write(prompt);
  using _raw = rawMode(context);
  let line = "";
  context.stdin.resume();
  for await (const piece of context.stdin.iterator({ destroyOnReturn: false })) {
    for (const key of String(piece)) {
      if (key === "\x03") throw new Error("interrupted");
      if (key === "\r" || key === "\n") {
        context.stdout.write("\r\n");
        context.stdin.pause();
        return line;
      }
      line = key === "\x7f" || key === "\b" ? line.slice(0, -1) : line + key;
    }
  }
  return line;
}
