/**
 * The stream of messages of a pull or load: on a terminal one line per layer, rewritten in place, with a bar; elsewhere
 * a line per step, without the bars.
 */
import type { ProgressMessage } from "#api-types/image.ts";
import { humanSize } from "#go-values/size.ts";

const BAR = 50;

interface Terminal {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

/** Prints until the stream ends. Throws Error with the daemon's text for an error in it. */
export async function showProgress(
  messages: AsyncIterable<ProgressMessage>,
  output: Terminal,
): Promise<void> {
  const lines = new Map<string, number>();
  for await (const message of messages) {
    const failure = message.errorDetail?.message ?? message.error;
    if (failure !== undefined) throw new Error(failure);
    if (message.stream !== undefined) output.write(message.stream);
    if (message.status === undefined) continue;
    const bar = progressBar(message, output.columns ?? 80);
    const text = `${message.id ? `${message.id}: ` : ""}${message.status}${bar && output.isTTY ? ` ${bar}` : ""}`;
    if (!output.isTTY) {
      if (bar === "") output.write(`${text}\n`);
    } else if (message.id === undefined || message.progressDetail === undefined) {
      output.write(`${text}\n`);
      // Lines that came before are out of reach now.
      lines.clear();
    } else rewrite(lines, message.id, text, output);
  }
}

function rewrite(lines: Map<string, number>, id: string, text: string, output: Terminal): void {
  let at = lines.get(id);
  if (at === undefined) {
    at = lines.size;
    lines.set(id, at);
    output.write("\n");
  }
  const up = lines.size - at;
  output.write(`\x1b[${up}A\x1b[2K\r${text}\r\x1b[${up}B`);
}

/** "[====>    ]  1.2MB/3.4MB"; "" when nothing is known of the progress. */
export function progressBar(message: ProgressMessage, columns: number): string {
  const { current = 0, total = 0 } = message.progressDetail ?? {};
  if (current <= 0 && total <= 0) return "";
  if (total <= 0) return humanSize(current).padStart(8);
  const filled = Math.min(BAR, Math.trunc((current / total) * BAR));
  const box = columns > 110 ? `[${"=".repeat(filled)}>${" ".repeat(BAR - filled)}] ` : "";
  return `${box}${humanSize(current).padStart(8)}${current > total ? "" : `/${humanSize(total)}`}`;
}
