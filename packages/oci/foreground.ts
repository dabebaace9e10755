/**
 * A container or exec that the caller waits for: its signals are passed on, its terminal is the caller's, its exit code
 * the answer.
 */
import { once } from "node:events";
import type { Socket } from "node:net";
import { createLauncherClient } from "#program/launcher-client.ts";
import type { LauncherRun } from "#program/launcher-run.ts";
import { decodeWaitStatus } from "#program/wait-status.ts";
import { BUNDLE_NOTE } from "#runtime/compile/bundle-frame.ts";

/** Not passed on: they are about this process itself, or cannot be. */
const OWN = new Set([
  "SIGKILL",
  "SIGSTOP",
  "SIGCHLD",
  "SIGPIPE",
  "SIGURG",
  "SIGPROF",
  "SIGSEGV",
  "SIGBUS",
  "SIGFPE",
  "SIGILL",
  "SIGABRT",
]);
const FORWARDED: NodeJS.Signals[] = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGTERM",
  "SIGUSR1",
  "SIGUSR2",
  "SIGCONT",
  "SIGTSTP",
  "SIGALRM",
  "SIGWINCH",
];

/** How long a launcher that has ended may still be heard, ms: its last words are in the socket by then. */
const LAST_WORDS_MS = 100;
const KILLED = 137;

/** Resolves with the exit code once the main process has ended. To be called before it can end. */
export function exitCodeOf(run: LauncherRun, relayed: boolean): Promise<number> {
  if (relayed) return run.shim.exited.then(({ exitCode }) => exitCode);
  const { promise, resolve } = Promise.withResolvers<number>();
  let timer: NodeJS.Timeout | undefined;
  let told = false;
  run.shim.onNote((kind, value) => {
    if (kind !== BUNDLE_NOTE.ENDED) return;
    told = true;
    clearTimeout(timer);
    resolve(decodeWaitStatus(Number(value)).exitCode);
  });
  // A launcher that was killed tells nothing any more.
  void run.ended.then(() => {
    if (!told) timer = setTimeout(resolve, LAST_WORDS_MS, KILLED);
  });
  return promise;
}

/** Until the answer is called, signals to this process go to that one. */
export function forwardSignals(pid: number): () => void {
  const forward = (signal: NodeJS.Signals) => {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended; so will we.
    }
  };
  const listened = FORWARDED.filter((signal) => !OWN.has(signal));
  for (const signal of listened) process.on(signal, forward);
  return () => {
    for (const signal of listened) process.off(signal, forward);
  };
}

/** Joins this process' terminal to the container's until that ends. */
export async function joinTerminal(run: LauncherRun, controlSocket: string): Promise<void> {
  const client = createLauncherClient({ launcherPath: "", socketPath: "" });
  const socket: Socket = await client.attach(controlSocket, { stdin: true, stdout: true, stderr: true });
  const raw = process.stdin.isTTY;
  if (raw) process.stdin.setRawMode(true);
  const resize = () => run.shim.resize(process.stdout.rows, process.stdout.columns);
  if (process.stdout.isTTY) process.stdout.on("resize", resize);
  process.stdin.pipe(socket);
  socket.pipe(process.stdout, { end: false });
  try {
    if (!socket.destroyed) await once(socket, "close");
  } finally {
    process.stdout.off("resize", resize);
    if (raw) process.stdin.setRawMode(false);
    // Whoever is still typing keeps nobody waiting.
    process.stdin.destroy();
  }
}
