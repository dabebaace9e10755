/** The client program: composition only. */
import { existsSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import type { Context } from "#cli/command.ts";
import { main } from "#cli/main.ts";
import { Client } from "#client/client.ts";
import { chooseEndpoint, type EndpointFlags } from "#client/endpoint.ts";

const LOG = "/run/berth/berthd.log";

// Bundled it lies in dist/, as source in apps/berth/.
const here = import.meta.dirname;
const root = basename(here) === "dist" ? join(here, "..") : join(here, "../..");

function makeContext(flags: EndpointFlags): Context {
  const endpoint = chooseEndpoint(flags, process.env);
  const archive = join(root, "build/busybox.tar");
  let client: Promise<Client> | undefined;
  return {
    env: process.env,
    cwd: process.cwd(),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    client: () => {
      client ??= connect(endpoint);
      return client;
    },
    busyboxArchive: existsSync(archive) ? archive : undefined,
    apiSocket: endpoint.socketPath,
    readFile,
  };
}

async function connect(endpoint: ReturnType<typeof chooseEndpoint>): Promise<Client> {
  const client = new Client(endpoint);
  // Where the user named the daemon, the first request tells whether it is there.
  if (endpoint.explicit) return client;
  try {
    await client.ping();
  } catch (error) {
    if (!(error instanceof Error && error.name === "NoDaemonError")) throw error;
    const { startDaemon } = await import("#cli/start-daemon.ts");
    await startDaemon(join(root, "bin/berthd"), client, LOG);
  }
  return client;
}

function readFile(path: string): string {
  try {
    return readFileSync(resolve(path), "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const texts: Record<string, string> = {
      ENOENT: "no such file or directory",
      EACCES: "permission denied",
      EISDIR: "is a directory",
      ENOTDIR: "not a directory",
    };
    throw new Error(`open ${path}: ${texts[code ?? ""] ?? message}`);
  }
}

/** What a reader that went away does to a program: the shell's 128 + SIGPIPE. */
const BROKEN_PIPE = 141;
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error: NodeJS.ErrnoException) =>
    process.exit(error.code === "EPIPE" ? BROKEN_PIPE : 1),
  );

async function run(): Promise<void> {
  const code = await main(process.argv.slice(2), process, makeContext);
  // Pipes are written asynchronously; connections and stdin would keep the process alive.
  await Promise.all(
    [process.stdout, process.stderr].map(
      (stream) => new Promise<void>((done) => stream.write("", () => done())),
    ),
  );
  process.exit(code);
}

void run();
