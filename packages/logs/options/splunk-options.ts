/** Options of the splunk driver. */
import { readFileSync } from "node:fs";
import type { LogOptions } from "#logs/options/container-info.ts";
import { LogOptionError, parseBool, parseInteger } from "#logs/options/option-values.ts";

export interface SplunkOptions {
  /** scheme://host:port */
  url: string;
  token: string;
  source: string;
  sourceType: string;
  index: string;
  format: "inline" | "json" | "raw";
  /** gzip level; undefined for none. */
  gzip: number | undefined;
  ca: string | undefined;
  /** Whose certificate is expected, if not the host's in the address. */
  caName: string;
  skipVerify: boolean;
  acknowledge: boolean;
}

const DEFAULT_LEVEL = -1;

export function splunkOptions(options: LogOptions): SplunkOptions {
  const url = options["splunk-url"];
  if (url === undefined) throw new LogOptionError("splunk: splunk-url is expected");
  if (!/^https?:\/\/[^/?#]+\/?$/.test(url) || !URL.canParse(url)) {
    throw new LogOptionError("splunk: expected format scheme://dns_name_or_ip:port for splunk-url");
  }
  const token = options["splunk-token"];
  if (token === undefined) throw new LogOptionError("splunk: splunk-token is expected");
  const flag = (name: string) => (options[name] === undefined ? false : parseBool(options[name]));
  const skipVerify = flag("splunk-insecureskipverify");
  const gzip = flag("splunk-gzip");
  const levelText = options["splunk-gzip-level"];
  const level = levelText === undefined ? DEFAULT_LEVEL : parseInteger(levelText, "ParseInt");
  if (level < -1 || level > 9) {
    throw new LogOptionError(
      `not supported level '${levelText}' for splunk-gzip-level (supported values between -1 and 9)`,
    );
  }
  const acknowledge = flag("splunk-index-acknowledgment");
  flag("splunk-verify-connection");
  const format = options["splunk-format"] ?? "inline";
  if (format !== "inline" && format !== "json" && format !== "raw") {
    throw new LogOptionError("Unknown format specified , supported formats are inline, json and raw");
  }
  return {
    url: url.replace(/\/$/, ""),
    token,
    source: options["splunk-source"] ?? "",
    sourceType: options["splunk-sourcetype"] ?? "",
    index: options["splunk-index"] ?? "",
    format,
    gzip: gzip ? level : undefined,
    ca: authority(options["splunk-capath"]),
    caName: options["splunk-caname"] ?? "",
    skipVerify,
    acknowledge,
  };
}

function authority(path: string | undefined): string | undefined {
  if (path === undefined || path === "") return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch {
    throw new LogOptionError(`open ${path}: no such file or directory`);
  }
}
