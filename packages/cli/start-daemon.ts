/**
 * Starts a daemon where none answers: detached, in a session of its own, its output in a log file. Two clients may do
 * this at the same moment: the second daemon ends because the first holds the pid file, and both clients find the first.
 */
import { spawn } from "node:child_process";
import { mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, NoDaemonError } from "#client/client.ts";
import { BerthError } from "#errors/errors.ts";

/** How long a daemon may take to listen (it listens before it looks at what it finds), in milliseconds. */
const START_TIMEOUT = 30_000;
/** How long to go on asking after our daemon has ended, because another one may just be starting. */
const AFTERMATH = 2_000;

/** Resolves when a daemon answers. Throws BerthError with the end of its log. */
export async function startDaemon(program: string, client: Client, log: string): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new BerthError("unavailable", `no daemon answers at ${client.endpoint.host}`, {
      operation: "start the daemon",
      hint: "Starting one takes root: run this with sudo once, or start berthd.",
    });
  }
  mkdirSync(dirname(log), { recursive: true, mode: 0o711 });
  const output = openSync(log, "a", 0o600);
  const child = spawn(program, [], { detached: true, stdio: ["ignore", output, output], cwd: "/" });
  child.unref();
  let ended: string | undefined;
  child.on("error", (error) => {
    ended = error.message;
  });
  child.on("exit", (code, signal) => {
    ended = signal === null ? `it ended with code ${code}` : `it was ended by ${signal}`;
  });
  let deadline = Date.now() + START_TIMEOUT;
  for (let pause = 5; ; pause = Math.min(pause * 1.5, 100)) {
    try {
      await client.ping();
      return;
    } catch (error) {
      if (!(error instanceof NoDaemonError)) throw error;
    }
    if (ended !== undefined) deadline = Math.min(deadline, Date.now() + AFTERMATH);
    if (Date.now() > deadline) throw failure(ended ?? "it does not answer", log);
    await sleep(pause);
  }
}

function failure(why: string, log: string): BerthError {
  const tail = readFileSync(log, "utf8").trimEnd().split("\n").slice(-10).join("\n  ");
  return new BerthError("unavailable", `could not start the Berth daemon: ${why}`, {
    operation: "start the daemon",
    hint: `The end of its log, ${log}:\n  ${tail}`,
  });
}
