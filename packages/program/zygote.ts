/** Starting the zygote: the one launcher of an execution root, which outlives the daemon that starts it. */
import { spawn } from "node:child_process";
import { BerthError } from "#errors/errors.ts";

/**
 * Runs `launcher zygote PATH`, which comes back when the socket answers: its own if it is the first, somebody else's
 * otherwise. However many do this at once, one zygote is the result. Throws "unavailable" with what it complained of.
 */
export async function startZygote(launcherPath: string, socketPath: string): Promise<void> {
  const unavailable = (reason: string, cause?: unknown) =>
    new BerthError("unavailable", `the launcher does not start: ${reason}`, {
      operation: "start launcher",
      object: launcherPath,
      cause,
    });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const child = spawn(launcherPath, ["zygote", socketPath], {
    cwd: "/",
    env: {},
    // It goes on in a session of its own, with none of these.
    stdio: ["ignore", "ignore", "pipe"],
  });
  let complaint = "";
  child.on("error", (error) => reject(unavailable(error.message, error)));
  child.on("close", (code, signal) => {
    if (code === 0) resolve();
    else reject(unavailable(complaint.trim() || `it ended with ${signal ?? code}`));
  });
  // Without a descriptor for it there is none, whatever the types say, and the error comes later.
  child.stderr?.on("data", (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  await promise;
}
