/**
 * Where plugins are found, by Docker's plugin discovery rules: `<name>.sock` under the run directories, `<name>.spec` (an
 * address) or `<name>.json` under the directories of specifications; each also as `<name>/<name>.…`.
 */
import type { Dirent } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";

export interface PluginDirectories {
  /** Of unix sockets. */
  sockets: string[];
  /** Of .spec and .json files. */
  specs: string[];
}

export interface PluginAddress {
  name: string;
  /** "unix:///run/…", "tcp://host:port", "https://host". */
  address: string;
  tls?: { insecure: boolean; ca?: string; certificate?: string; key?: string };
}

/** Undefined where there is none. Throws Error for a specification that says nothing. */
export async function findPlugin(
  name: string,
  { sockets, specs }: PluginDirectories,
): Promise<PluginAddress | undefined> {
  // A name is no path: nothing outside of the directories is ever opened.
  if (!/^[\w][\w.:-]*$/.test(name)) return undefined;
  for (const path of candidates(sockets, name, [".sock"])) {
    const status = await stat(path).catch(() => undefined);
    if (status?.isSocket()) return { name, address: `unix://${path}` };
  }
  for (const path of candidates(specs, name, [".spec", ".json"])) {
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text !== undefined)
      return path.endsWith(".json") ? fromJson(name, path, text) : fromText(name, path, text);
  }
  return undefined;
}

/** Names of all there are. */
export async function scanPlugins({ sockets, specs }: PluginDirectories): Promise<string[]> {
  const names = new Set<string>();
  for (const directory of sockets) {
    for (const entry of await entriesOf(directory)) if (entry.isSocket()) names.add(stem(entry.name));
  }
  for (const directory of specs) {
    for (const entry of await entriesOf(directory)) {
      if (entry.isFile() && [".spec", ".json"].includes(extname(entry.name))) names.add(stem(entry.name));
    }
  }
  return [...names];
}

function candidates(directories: string[], name: string, extensions: string[]): string[] {
  return directories.flatMap((directory) =>
    extensions.flatMap((extension) => [
      join(directory, `${name}${extension}`),
      join(directory, name, `${name}${extension}`),
    ]),
  );
}

async function entriesOf(directory: string): Promise<Dirent[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const below = entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => readdir(join(directory, entry.name), { withFileTypes: true }).catch(() => []));
  return [...entries, ...(await Promise.all(below)).flat()];
}

function stem(file: string): string {
  return file.slice(0, file.length - extname(file).length);
}

function fromText(name: string, path: string, text: string): PluginAddress {
  const address = text.trim();
  if (!/^[a-z]+:\/\//.test(address))
    throw new Error(`${path} has no address such as "tcp://localhost:8080" in it`);
  return { name, address };
}

function fromJson(name: string, path: string, text: string): PluginAddress {
  let read: { Addr?: unknown; TLSConfig?: Record<string, unknown> };
  try {
    read = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${path} is no JSON: ${cause instanceof Error ? cause.message : cause}`);
  }
  const found = fromText(name, path, typeof read?.Addr === "string" ? read.Addr : "");
  const { CAFile, CertFile, KeyFile, InsecureSkipVerify } = read.TLSConfig ?? {};
  const file = (value: unknown) => (typeof value === "string" && value !== "" ? value : undefined);
  const [ca, certificate, key] = [file(CAFile), file(CertFile), file(KeyFile)];
  return {
    ...found,
    tls: {
      insecure: InsecureSkipVerify === true || ca === undefined,
      ...(ca === undefined ? {} : { ca }),
      ...(certificate === undefined ? {} : { certificate }),
      ...(key === undefined ? {} : { key }),
    },
  };
}
