/**
 * One run of a health check: an exec whose output is kept as far as it is shown, killed when it takes too long. Never
 * throws: what goes wrong is a result, too.
 */
import type { HealthcheckResult } from "#api-types/container.ts";
import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import type { Exec } from "#engine/exec/exec.ts";
import { addExec, runExec } from "#engine/exec/run-exec.ts";
import { goDuration, type HealthCheck, MAX_OUTPUT } from "#engine/health/health-check.ts";
import { LONGEST_TIMER_MS } from "#engine/longest-timer.ts";
import { Deframer } from "#engine/streams/multiplex.ts";
import { formatNanoseconds, nowNanoseconds } from "#engine/timestamps.ts";

const SIGKILL = 9;

/** Resolves when the probe has ended, however; `signal`: nobody wants its result any more, it is killed. */
export async function probe(
  context: EngineContext,
  container: Container,
  check: HealthCheck,
  signal: AbortSignal,
): Promise<HealthcheckResult> {
  const Start = formatNanoseconds(nowNanoseconds());
  const result = (ExitCode: number, Output: string): HealthcheckResult => ({
    Start,
    End: formatNanoseconds(nowNanoseconds()),
    ExitCode,
    Output,
  });
  const exec = addExec(
    context,
    container,
    { AttachStdout: true, AttachStderr: true, Cmd: check.command },
    { isProbe: true },
  );
  const output = new BoundedOutput();
  let timedOut = false;
  const kill = () => killSession(exec);
  const timer = setTimeout(
    () => {
      timedOut = true;
      kill();
    },
    Math.min(check.timeout / 1e6, LONGEST_TIMER_MS),
  );
  signal.addEventListener("abort", kill);
  try {
    let read: Promise<void> = Promise.resolve();
    const attach = async (socket: string) => {
      read = readOutput(context, socket, output);
      await read;
    };
    await runExec(context, exec, { expectedAttaches: 1, attach });
    // It may have been waited for, and not have started, when its time was over.
    if (timedOut || signal.aborted) kill();
    await Promise.all([read, exec.ended]);
  } catch (error) {
    return result(-1, error instanceof Error ? error.message : String(error));
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", kill);
  }
  if (timedOut) {
    const text = `Health check exceeded timeout (${goDuration(check.timeout)})`;
    return result(-1, output.text === "" ? text : `${text}: ${output.text}`);
  }
  return result(exec.exitCode ?? -1, output.text);
}

/** The process and what it has started: it is the leader of a session of its own. */
function killSession(exec: Exec): void {
  const { pid, shim } = exec;
  if (shim === undefined || exec.state !== "running") return;
  if (pid > 1) {
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // Nobody is left of them, or the process is not the leader yet: the shim knows the process itself.
    }
  }
  shim.signal(SIGKILL);
}

async function readOutput(context: EngineContext, socket: string, output: BoundedOutput): Promise<void> {
  const shim = await context.launcher.attach(socket, { stdin: false, stdout: true, stderr: true });
  const deframer = new Deframer((_stream, content) => output.add(content));
  await new Promise<void>((resolve) => {
    shim.on("data", (chunk: Buffer) => deframer.push(chunk));
    shim.on("error", () => resolve());
    shim.on("close", () => resolve());
  });
}

/** Keeps the beginning, and says that there was more. */
class BoundedOutput {
  #kept: Buffer[] = [];
  #length = 0;
  #cut = false;

  add(content: Buffer): void {
    const room = MAX_OUTPUT - this.#length;
    if (content.length > room) this.#cut = true;
    if (room === 0) return;
    // A copy: the rest of the chunk needn't be kept.
    const kept = Buffer.from(content.subarray(0, room));
    this.#kept.push(kept);
    this.#length += kept.length;
  }

  get text(): string {
    const text = Buffer.concat(this.#kept).toString();
    return this.#cut ? `${text}...` : text;
  }
}
