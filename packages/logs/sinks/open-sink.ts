/** The sink of each kind. Only the one that is needed is loaded. */
import type { SinkPlan } from "#logs/ship-types.ts";
import type { Sink } from "#logs/sinks/sink.ts";

export async function openSink(plan: SinkPlan): Promise<Sink> {
  switch (plan.kind) {
    case "syslog":
      return (await import("#logs/sinks/syslog-sink.ts")).syslogSink(plan);
    case "journald":
      return (await import("#logs/sinks/journald-sink.ts")).journaldSink(plan);
    case "gelf":
      return (await import("#logs/sinks/gelf-sink.ts")).gelfSink(plan);
    case "fluentd":
      return (await import("#logs/sinks/fluentd-sink.ts")).fluentdSink(plan);
    case "splunk":
      return (await import("#logs/sinks/splunk-sink.ts")).splunkSink(plan);
  }
}
