/**
 * The user's terminal while a container's terminal is behind it: raw, so that every key goes through and every byte
 * comes back unchanged. Node's own raw mode keeps output processing on (a line feed would get a carriage return), so
 * stty(1) does it; node restores the terminal's first state when the process ends, whatever way it ends.
 */
import { spawnSync } from "node:child_process";
import type { Context } from "#cli/command.ts";

/** Puts the terminal of stdin into raw mode; disposing puts it back. Does nothing when stdin is none. */
export function rawMode(context: Context): Disposable {
  if (!context.stdin.isTTY) return { [Symbol.dispose]() {} };
  const stdin = context.stdin.fd ?? 0;
  const stty = (...argv: string[]) =>
    spawnSync("stty", argv, { stdio: [stdin, "pipe", "ignore"], encoding: "utf8" }).stdout?.trim() ?? "";
  const before = stty("-g");
  if (before !== "") stty("raw", "-echo");
  return {
    [Symbol.dispose]() {
      if (before !== "") stty(before);
    },
  };
}

/** Tells the size of the user's terminal now and whenever it changes; disposing ends that. */
export function followSize(
  context: Context,
  resize: (rows: number, columns: number) => Promise<unknown>,
): Disposable {
  const tell = () => {
    const { rows = 0, columns = 0 } = context.stdout;
    // A container that has just ended cannot be resized, and nobody misses it.
    if (rows > 0 && columns > 0) resize(rows, columns).catch(() => {});
  };
  tell();
  context.stdout.on("resize", tell);
  return {
    [Symbol.dispose]() {
      context.stdout.off("resize", tell);
    },
  };
}
