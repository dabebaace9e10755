/** Asks before something is lost. */
import { createInterface } from "node:readline";
import type { Context } from "#cli/command.ts";

/** Prints the question and reads a line; only "y" and "Y" mean yes, the end of the input means no. */
export async function confirm(context: Context, question: string): Promise<boolean> {
  context.stdout.write(`${question} [y/N] `);
  const lines = createInterface({ input: context.stdin, terminal: false });
  try {
    for await (const line of lines) return line.trim().toLowerCase() === "y";
    return false;
  } finally {
    lines.close();
    // An input that stays open must not keep the command from ending.
    context.stdin.destroy();
  }
}
