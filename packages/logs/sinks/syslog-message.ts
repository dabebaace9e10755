/** Syslog messages in Docker's formats. Pure. */
import { fixedTime } from "#logs/log-entry.ts";
import type { SyslogFormat } from "#logs/options/syslog-options.ts";
import type { Event } from "#logs/sinks/sink.ts";

const SEVERITY = { stdout: 6, stderr: 3 } as const;
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

export interface SyslogHeader {
  /** 0 to 23. */
  facility: number;
  format: SyslogFormat;
  tag: string;
  hostName: string;
  pid: number;
  /** Over TCP, RFC 5425: the length before each message of RFC 5424's formats. */
  counted: boolean;
}

/** One message, with a newline at its end. */
export function syslogMessage(event: Event, header: SyslogHeader): Buffer {
  const priority = header.facility * 8 + SEVERITY[event.stream];
  const { tag, hostName, pid } = header;
  const text = Buffer.from(event.line.buffer, event.line.byteOffset, event.line.byteLength);
  let head: string;
  switch (header.format) {
    case "":
      head = `<${priority}>${stamp(event.time)} ${tag}[${pid}]: `;
      break;
    case "rfc3164":
      head = `<${priority}>${stamp(event.time)} ${hostName} ${tag}[${pid}]: `;
      break;
    default: {
      const time = rfc5424Time(event.time, header.format === "rfc5424micro");
      head = `<${priority}>1 ${time} ${hostName} ${tag} ${pid} ${tag} - `;
    }
  }
  const message = Buffer.concat([Buffer.from(head), text, NEWLINE]);
  const counted = header.counted && header.format.startsWith("rfc5424");
  return counted ? Buffer.concat([Buffer.from(`${message.length} `), message]) : message;
}

const NEWLINE = Buffer.from("\n");

/** "Jan _2 15:04:05" of local time. */
function stamp(time: bigint): string {
  const date = new Date(Number(time / 1_000_000n));
  const two = (value: number) => String(value).padStart(2, "0");
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${MONTHS[date.getMonth()]} ${String(date.getDate()).padStart(2, " ")} ${clock}`;
}

/** In UTC, with seconds or microseconds. */
function rfc5424Time(time: bigint, micro: boolean): string {
  const text = fixedTime(time);
  return micro ? `${text.slice(0, 26)}Z` : `${text.slice(0, 19)}Z`;
}
