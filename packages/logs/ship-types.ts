/** What the thread that passes logs on is told: plain data, so that it can be sent there. */
import type { RetryPlan } from "#logs/delivery.ts";
import type { LogLocation } from "#logs/log-types.ts";
import type { FluentdOptions } from "#logs/options/fluentd-options.ts";
import type { GelfOptions } from "#logs/options/gelf-options.ts";
import type { SplunkOptions } from "#logs/options/splunk-options.ts";
import type { SyslogOptions } from "#logs/options/syslog-options.ts";

/** Where output goes, and what each event says of its container. */
export type SinkPlan =
  | { kind: "syslog"; options: SyslogOptions; tag: string; hostName: string }
  /** `fields`: of every message, by journal's names. */
  | { kind: "journald"; socket: string; fields: Record<string, string> }
  /** `fields`: of every message; strings, but for the version. */
  | { kind: "gelf"; options: GelfOptions; fields: Record<string, string> }
  | { kind: "fluentd"; options: FluentdOptions; tag: string; fields: Record<string, string> }
  | {
      kind: "splunk";
      options: SplunkOptions;
      tag: string;
      hostName: string;
      attributes: Record<string, string>;
    };

export interface ShipTask {
  /** The container's id. */
  id: string;
  log: LogLocation;
  /** File that says how far everything has been passed on. */
  position: string;
  sink: SinkPlan;
  /** What stays for `docker logs` of that which has been passed on. */
  keep: { files: number; compress: boolean };
  /** With mode=non-blocking: bytes that may wait for a destination that takes nothing; what is older is dropped. */
  buffer: number | undefined;
  /** Where the driver's options say it. */
  retry?: RetryPlan;
}
