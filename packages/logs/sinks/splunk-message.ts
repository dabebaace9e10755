/** Events of splunk's HTTP event collector. Pure. */
import type { SinkPlan } from "#logs/ship-types.ts";
import type { Event } from "#logs/sinks/sink.ts";

type Plan = SinkPlan & { kind: "splunk" };

/** One event as JSON; undefined for a line that raw format has nothing to say of. */
export function splunkEvent(event: Event, plan: Plan): string | undefined {
  const { options, hostName } = plan;
  const text = Buffer.from(event.line.buffer, event.line.byteOffset, event.line.byteLength).toString();
  if (options.format === "raw" && text.trim() === "") return undefined;
  const microseconds = event.time / 1000n;
  return JSON.stringify({
    time: `${microseconds / 1_000_000n}.${String(microseconds % 1_000_000n).padStart(6, "0")}`,
    host: hostName,
    ...(options.source === "" ? {} : { source: options.source }),
    ...(options.sourceType === "" ? {} : { sourcetype: options.sourceType }),
    ...(options.index === "" ? {} : { index: options.index }),
    event: content(text, event, plan),
  });
}

function content(text: string, event: Event, { options, tag, attributes }: Plan): unknown {
  const keys = Object.keys(attributes);
  if (options.format === "raw") {
    const before = [tag, ...keys.map((key) => `${key}=${attributes[key]}`)].filter((part) => part !== "");
    return [...before, text].join(" ");
  }
  return {
    line: options.format === "json" ? parsed(text) : text,
    source: event.stream,
    ...(tag === "" ? {} : { tag }),
    ...(keys.length === 0 ? {} : { attrs: attributes }),
  };
}

/** JSON as what it is, everything else as text. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
