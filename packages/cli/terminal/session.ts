/**
 * A container's (or exec's) streams joined to the user's: input with half-close and detach keys, output split into
 * stdout and stderr. Owns nothing after it resolves; the terminal's mode is the caller's.
 */
import type { Context } from "#cli/command.ts";
import { DetachScanner, parseDetachKeys } from "#cli/terminal/detach-keys.ts";
import type { HijackedStream } from "#client/client.ts";
import { copyOutput } from "#client/demultiplex.ts";

export interface SessionOptions {
  stdin: boolean;
  tty: boolean;
  /** As given by the user; "" for the default. Looked for only with a terminal. */
  detachKeys: string;
}

/** Resolves when the output has ended, or the user has left. */
export async function runSession(
  stream: HijackedStream,
  options: SessionOptions,
  context: Context,
): Promise<"ended" | "detached"> {
  const { socket, multiplexed } = stream;
  const output = copyOutput(socket, multiplexed && !options.tty, context.stdout, context.stderr).then(
    () => "ended" as const,
  );
  if (!options.stdin) return await output;
  const input = forwardInput(stream, options, context);
  try {
    const first = await Promise.race([output, input.detached]);
    if (first === "detached") {
      // What comes after has no reader; its end must not become an unhandled rejection.
      output.catch(() => {});
      socket.destroy();
    }
    return first;
  } finally {
    input[Symbol.dispose]();
  }
}

function forwardInput(
  { socket }: HijackedStream,
  options: SessionOptions,
  context: Context,
): Disposable & { detached: Promise<"detached"> } {
  const { stdin } = context;
  const scanner = options.tty ? new DetachScanner(parseDetachKeys(options.detachKeys)) : undefined;
  const { promise: detached, resolve } = Promise.withResolvers<"detached">();
  const onData = (chunk: Buffer) => {
    const scanned = scanner?.push(chunk) ?? { output: chunk, detached: false };
    if (!socket.write(scanned.output)) {
      stdin.pause();
      socket.once("drain", () => stdin.resume());
    }
    if (scanned.detached) resolve("detached");
  };
  const onEnd = () => socket.end();
  // The container may end, and its socket with it, while there is still input: the exit code says all there is to say.
  socket.on("error", () => {});
  stdin.on("data", onData);
  stdin.on("end", onEnd);
  return {
    detached,
    [Symbol.dispose]() {
      stdin.off("data", onData);
      stdin.off("end", onEnd);
      stdin.pause();
    },
  };
}
