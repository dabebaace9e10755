/**
 * What is to be done with a container's output, from its driver and options: which files its shim writes, what is kept
 * of them, and where it is passed on to. Pure, but for certificates that options name.
 */
import { hostname } from "node:os";
import { join } from "node:path";
import type { LogLocation } from "#logs/log-types.ts";
import {
  type ContainerInfo,
  extraAttributes,
  type LogOptions,
  logTag,
} from "#logs/options/container-info.ts";
import { cachePlan, jsonFilePlan, type LogFilePlan, localPlan, UNKEPT } from "#logs/options/file-options.ts";
import { fluentdOptions } from "#logs/options/fluentd-options.ts";
import { gelfOptions } from "#logs/options/gelf-options.ts";
import { LogOptionError, parseSize } from "#logs/options/option-values.ts";
import { splunkOptions } from "#logs/options/splunk-options.ts";
import { syslogOptions } from "#logs/options/syslog-options.ts";
import type { ShipTask, SinkPlan } from "#logs/ship-types.ts";

export interface ContainerLogs {
  log: LogLocation;
  files: LogFilePlan;
  /** Put into every entry, already JSON: `,"attrs":{…}` or "". */
  attributes: string;
  /** How many files the shim may leave; 0: who passes them on deletes them. */
  shimFiles: number;
  /** `docker logs` can be answered. */
  readable: boolean;
  ship: ShipTask | undefined;
}

/** What a shim takes (launcher/program.h, RELAY_MAX_TEXT). */
const LONGEST_ATTRIBUTES = 65_000;
const DEFAULT_BUFFER = 1024 * 1024;
/** Docker's name for the file kept beside a driver that passes everything on. */
const CACHE_NAME = "container-cached.log";
const POSITION_NAME = "container-cached.position";
/** systemd's, systemd-journald.socket(8). */
export const JOURNAL_SOCKET = "/run/systemd/journal/socket";

/** Where a driver's files are in the container's directory; undefined for none. */
export function logLocation(driver: string, id: string, directory: string): LogLocation | undefined {
  switch (driver) {
    case "none":
      return undefined;
    case "json-file":
      return { directory, name: `${id}-json.log`, form: "json-file" };
    case "local":
      return { directory: join(directory, "local-logs"), name: "container.log", form: "local" };
    default:
      return { directory, name: CACHE_NAME, form: "local" };
  }
}

/** undefined for driver none. Throws LogOptionError for options that make no sense. */
export function containerLogs(
  driver: string,
  options: LogOptions,
  info: ContainerInfo,
  directory: string,
): ContainerLogs | undefined {
  const log = logLocation(driver, info.id, directory);
  if (log === undefined) return undefined;
  if (driver === "json-file") {
    const files = jsonFilePlan(options);
    const attributes = attributesText(info, options);
    return { log, files, attributes, shimFiles: files.files, readable: true, ship: undefined };
  }
  if (driver === "local") {
    const files = localPlan(options);
    return { log, files, attributes: "", shimFiles: files.files, readable: true, ship: undefined };
  }
  // Docker reads the journal itself, so that a cache is nothing to be turned off there.
  const cache = cachePlan(driver === "journald" ? { ...options, "cache-disabled": "false" } : options);
  const files = cache ?? UNKEPT;
  const sink = sinkPlan(driver, options, info);
  const fluentd = sink.kind === "fluentd" ? sink.options : undefined;
  const ship: ShipTask = {
    id: info.id,
    log,
    position: join(directory, POSITION_NAME),
    sink,
    keep: { files: files.files, compress: files.compress },
    buffer:
      options.mode === "non-blocking"
        ? parseSize(options["max-buffer-size"] ?? String(DEFAULT_BUFFER), 1024)
        : fluentd?.bufferLimit,
    ...(fluentd && { retry: fluentd.retry }),
  };
  return { log, files, attributes: "", shimFiles: 0, readable: cache !== undefined, ship };
}

/** Escaped as Go does in JSON. */
function attributesText(info: ContainerInfo, options: LogOptions): string {
  const attributes = extraAttributes(info, options);
  const tag = logTag(info, options, "");
  if (tag !== "") attributes.tag = tag;
  const entries = Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) return "";
  const json = JSON.stringify(Object.fromEntries(entries)).replace(
    /[<>&\u2028\u2029\u007f\0]/g,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  const text = `,"attrs":${json}`;
  if (Buffer.byteLength(text) > LONGEST_ATTRIBUTES) {
    throw new LogOptionError(`labels and variables for the log are too long (${text.length} characters)`);
  }
  return text;
}

function sinkPlan(driver: string, options: LogOptions, info: ContainerInfo): SinkPlan {
  const tag = logTag(info, options);
  const hostName = hostname();
  switch (driver) {
    case "syslog":
      return { kind: "syslog", options: syslogOptions(options), tag, hostName };
    case "journald":
      return {
        kind: "journald",
        socket: JOURNAL_SOCKET,
        fields: {
          CONTAINER_ID: info.id.slice(0, 12),
          CONTAINER_ID_FULL: info.id,
          CONTAINER_NAME: info.name,
          CONTAINER_TAG: tag,
          IMAGE_NAME: info.imageName,
          SYSLOG_IDENTIFIER: tag,
          ...extraAttributes(info, options, journalField),
        },
      };
    case "gelf": {
      const extra = extraAttributes(info, options, (key) => (key.startsWith("_") ? key : `_${key}`));
      return {
        kind: "gelf",
        options: gelfOptions(options),
        fields: {
          version: "1.1",
          host: hostName,
          _container_id: info.id,
          _container_name: info.name,
          _image_id: info.imageId,
          _image_name: info.imageName,
          _command: [info.path, ...info.args].join(" "),
          _tag: tag,
          _created: info.created,
          ...extra,
        },
      };
    }
    case "fluentd":
      return {
        kind: "fluentd",
        options: fluentdOptions(options),
        tag,
        fields: {
          container_id: info.id,
          container_name: `/${info.name}`,
          ...extraAttributes(info, options),
        },
      };
    case "splunk":
      return {
        kind: "splunk",
        options: splunkOptions(options),
        tag,
        hostName,
        attributes: extraAttributes(info, options),
      };
    default:
      throw new LogOptionError(`logger: no log driver named '${driver}' is registered`);
  }
}

/** Names of the journal's fields: capital letters, digits and underscores, which may not be first. */
export function journalField(key: string): string {
  return key
    .toUpperCase()
    .replace(/[^A-Z0-9_]/g, "_")
    .replace(/^_+/, "");
}
