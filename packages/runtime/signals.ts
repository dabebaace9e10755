/** Signal names and numbers, as `docker kill` and `--stop-signal` take them. Pure. Numbers of x86 and ARM (signal(7)). */
import { BerthError } from "#errors/errors.ts";

const names = [
  "HUP",
  "INT",
  "QUIT",
  "ILL",
  "TRAP",
  "ABRT",
  "BUS",
  "FPE",
  "KILL",
  "USR1",
  "SEGV",
  "USR2",
  "PIPE",
  "ALRM",
  "TERM",
  "STKFLT",
  "CHLD",
  "CONT",
  "STOP",
  "TSTP",
  "TTIN",
  "TTOU",
  "URG",
  "XCPU",
  "XFSZ",
  "VTALRM",
  "PROF",
  "WINCH",
  "IO",
  "PWR",
  "SYS",
];

const aliases: Record<string, number> = { IOT: 6, CLD: 17, POLL: 29, UNUSED: 31 };

/** Real-time signals: the C library keeps 32 and 33 for itself. */
const RTMIN = 34;
const RTMAX = 64;

/** "SIGTERM", "term", "15", "SIGRTMIN+3", "RTMAX-1" → number. Throws "invalid" with Docker's text. */
export function parseSignal(text: string): number {
  const number = signalNumber(text.trim().toUpperCase());
  if (number === undefined || number < 1 || number > RTMAX) {
    throw new BerthError("invalid", `invalid signal: ${text}`, {
      operation: "parse signal",
      object: text,
      hint: "give a name as in SIGTERM, or a number from 1 to 64",
    });
  }
  return number;
}

function signalNumber(text: string): number | undefined {
  if (/^\d{1,3}$/.test(text)) return Number(text);
  const name = text.startsWith("SIG") ? text.slice(3) : text;
  const index = names.indexOf(name);
  if (index >= 0) return index + 1;
  if (Object.hasOwn(aliases, name)) return aliases[name];
  const realTime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realTime === null) return undefined;
  const base = realTime[1] === "MIN" ? RTMIN : RTMAX;
  const offset = Number(realTime[3] ?? 0);
  if (offset !== 0 && (realTime[2] === "+") !== (base === RTMIN)) return undefined;
  const value = base === RTMIN ? base + offset : base - offset;
  return value >= RTMIN && value <= RTMAX ? value : undefined;
}

/** "SIGTERM" for 15, "SIGRTMIN+3" for 37; the number itself where there is no name. */
export function signalName(signal: number): string {
  const name = names[signal - 1];
  if (name !== undefined) return `SIG${name}`;
  if (signal === RTMIN) return "SIGRTMIN";
  if (signal > RTMIN && signal <= RTMAX) return `SIGRTMIN+${signal - RTMIN}`;
  return String(signal);
}
