/** What log drivers tell about a container: its tag, and the labels and variables somebody asked for. Pure. */
import { hostname } from "node:os";
import { MissingFieldError, TemplateError, template } from "#go-template/template.ts";
import { LogOptionError, parsePattern } from "#logs/options/option-values.ts";

export interface ContainerInfo {
  id: string;
  /** Without slash. */
  name: string;
  imageId: string;
  imageName: string;
  path: string;
  args: readonly string[];
  /** RFC 3339. */
  created: string;
  /** "NAME=value". */
  env: readonly string[];
  labels: Readonly<Record<string, string>>;
  logPath: string;
}

export type LogOptions = Readonly<Record<string, string>>;

const SHORT = 12;

/** Labels and variables as `labels`, `labels-regex`, `env` and `env-regex` choose them, with keys as `rename` has them. */
export function extraAttributes(
  info: ContainerInfo,
  options: LogOptions,
  rename = (key: string) => key,
): Record<string, string> {
  const extra: Record<string, string> = {};
  const choose = (from: Map<string, string>, list: string | undefined, pattern: string | undefined) => {
    for (const key of list?.split(",") ?? []) {
      const value = from.get(key);
      if (value !== undefined) extra[rename(key)] = value;
    }
    if (pattern === undefined || pattern === "") return;
    const matches = parsePattern(pattern);
    for (const [key, value] of from) if (matches(key)) extra[rename(key)] = value;
  };
  const variables = info.env.map((entry): [string, string] => {
    const at = entry.indexOf("=");
    return at < 0 ? [entry, ""] : [entry.slice(0, at), entry.slice(at + 1)];
  });
  choose(new Map(Object.entries(info.labels)), options.labels, options["labels-regex"]);
  choose(new Map(variables), options.env, options["env-regex"]);
  return extra;
}

const DEFAULT_TAG = "{{.ID}}";

/** The tag, by the template in `tag` or the one given. */
export function logTag(info: ContainerInfo, options: LogOptions, otherwise = DEFAULT_TAG): string {
  const text = options.tag || otherwise;
  if (text === "") return "";
  const data = {
    Config: options,
    ContainerID: info.id,
    ContainerName: `/${info.name}`,
    ContainerEntrypoint: info.path,
    ContainerArgs: info.args,
    ContainerImageID: info.imageId,
    ContainerImageName: info.imageName,
    ContainerCreated: info.created,
    ContainerEnv: info.env,
    ContainerLabels: info.labels,
    LogPath: info.logPath,
    DaemonName: "docker",
    ID: info.id.slice(0, SHORT),
    FullID: info.id,
    Name: info.name,
    ImageID: info.imageId.slice(0, SHORT),
    ImageFullID: info.imageId,
    ImageName: info.imageName,
    Command: [info.path, ...info.args].join(" "),
    Hostname: hostname(),
    ExtraAttributes: extraAttributes(info, options),
  };
  try {
    return template(text)(data);
  } catch (error) {
    throw new LogOptionError(tagFault(error, text));
  }
}

function tagFault(error: unknown, text: string): string {
  if (error instanceof MissingFieldError) {
    const field = /<(\.[^>]*)>/.exec(error.message)?.[1] ?? ".";
    const at = Math.max(0, text.indexOf(field));
    return `template: log-tag:1:${at}: executing "log-tag" at <${field}>: can't evaluate field ${field.slice(1)} in type *logger.Info`;
  }
  const reason = error instanceof Error ? error.message : String(error);
  if (!(error instanceof TemplateError)) return `template: log-tag:1: executing "log-tag": ${reason}`;
  return reason.replace(/^template parsing error: template: :1:/, "template: log-tag:1:");
}
