/**
 * Hooks that run in the runtime's own namespaces: each a process with the container's state on its stdin. Those inside
 * the container are part of the program (packages/runtime/compile/child-hooks.ts).
 */
import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import { BerthError } from "#errors/errors.ts";
import type { OciState } from "#oci/container-status.ts";
import type { HookName, Spec, SpecHook } from "#runtime/spec-types.ts";

/** How much of what a hook prints is told when it fails, in characters. */
const SHOWN = 2000;

/** Runs them one after another. The first that fails ends it: "start-failed", with what it printed. */
export async function runHooks(spec: Spec, name: HookName, state: OciState): Promise<void> {
  for (const [index, hook] of (spec.hooks?.[name] ?? []).entries()) {
    const failure = await runHook(hook, JSON.stringify(state));
    if (failure === undefined) continue;
    throw new BerthError("start-failed", `error running ${name} hook #${index}: ${failure}`, {
      operation: `run ${name} hook`,
      object: hook.path,
    });
  }
}

/** Answers what went wrong. */
function runHook(hook: SpecHook, input: string): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const [argv0 = hook.path, ...args] = hook.args ?? [];
  const env = Object.fromEntries((hook.env ?? []).map((entry) => splitOnce(entry)));
  const child = spawn(hook.path, args, { argv0, env, stdio: ["pipe", "pipe", "pipe"] });
  const printed = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].on("data", (chunk: Buffer) => {
      printed[stream] = (printed[stream] + chunk).slice(-SHOWN);
    });
  }
  let late = false;
  const timer =
    hook.timeout === undefined
      ? undefined
      : setTimeout(() => {
          late = true;
          child.kill("SIGKILL");
        }, hook.timeout * 1000);
  child.on("error", (error) => {
    clearTimeout(timer);
    resolve(error.message);
  });
  // "exit" and not "close": what a hook leaves running in the background may hold its output open.
  child.on("exit", (code, signal) => {
    clearTimeout(timer);
    if (late) resolve(`hook ran past specified timeout of ${hook.timeout}.0s`);
    else if (code === 0) resolve(undefined);
    else {
      const how = signal === null ? `exit status ${code}` : `signal: ${signal}`;
      // What it has printed last may still be on its way.
      setImmediate(() =>
        resolve(`${how}, stdout: ${printed.stdout.trim()}, stderr: ${printed.stderr.trim()}`),
      );
    }
    for (const stream of [child.stdout, child.stderr]) (stream as Socket).unref();
  });
  // A hook need not read its state.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  return promise;
}

function splitOnce(entry: string): [string, string] {
  const equals = entry.indexOf("=");
  return equals < 0 ? [entry, ""] : [entry.slice(0, equals), entry.slice(equals + 1)];
}
