/** The daemon's own log: one line an entry, on stderr, in logfmt or JSON. */
import { hidePasswords } from "#errors/hide-passwords.ts";
import type { Logger } from "#errors/logger-types.ts";

const LEVELS = ["debug", "info", "warn", "error", "fatal"] as const;
type Level = (typeof LEVELS)[number];

export interface LoggerOptions {
  level: string;
  format: "text" | "json";
  write?: (line: string) => void;
}

/** Values of these fields are never written. */
const SECRET = /password|secret|token|auth|credential/i;

export function createLogger(options: LoggerOptions): Logger {
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  const log =
    (level: Level) =>
    (message: string, fields: Record<string, unknown> = {}) => {
      // Asked each time: a reloaded configuration may have changed it.
      if (LEVELS.indexOf(level) < LEVELS.indexOf(options.level as Level)) return;
      const entry = { time: new Date().toISOString(), level, msg: hidePasswords(message), ...redact(fields) };
      write(`${options.format === "json" ? JSON.stringify(entry) : logfmt(entry)}\n`);
    };
  return { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
}

function redact(fields: Record<string, unknown>): Record<string, string | number | boolean> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, SECRET.test(key) ? "(redacted)" : printable(value)]),
  );
}

function printable(value: unknown): string | number | boolean {
  if (typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value === "string") return hidePasswords(value);
  if (value instanceof Error) return hidePasswords(value.stack ?? value.message);
  return hidePasswords(JSON.stringify(value) ?? String(value));
}

function logfmt(entry: Record<string, string | number | boolean>): string {
  return Object.entries(entry)
    .map(([key, value]) => {
      const text = String(value);
      return `${key}=${/^[\w./:+-]+$/.test(text) ? text : JSON.stringify(text)}`;
    })
    .join(" ");
}
