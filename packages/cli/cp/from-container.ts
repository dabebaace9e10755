/**
 * `cp` out of a container: the archive the daemon sends is unpacked here, or passed on to stdout.
 *
 * What is made belongs to whom runs the command. Everything is made below the destination whatever the archive says: its
 * names and links are resolved inside it, so a container, or a daemon, cannot reach other files of this machine.
 */
import { lstatSync, mkdirSync, statSync } from "node:fs";
import { posix, resolve } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Context } from "#cli/command.ts";
import {
  archivePath,
  decodeStatus,
  isDirectory,
  isSymlink,
  statContainerPath,
} from "#cli/cp/container-path.ts";
import { keepEnd, landing, type Place } from "#cli/cp/copy-paths.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import { ExtractTree } from "#storage/files/extract-tree.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import { TarReader } from "#storage/tar/tar-reader.ts";

/** Answers how many bytes came. */
export async function copyFromContainer(
  context: Context,
  source: { container: string; path: string },
  target: string,
  options: { followLink: boolean },
): Promise<number> {
  const client = await context.client();
  const asked = keepEnd(posix.resolve("/", source.path), source.path);
  const path = options.followLink ? await followed(context, source.container, asked) : asked;
  // What is wrong with the destination is told before anything is asked for.
  const place = target === "-" ? undefined : localPlace(context, target);
  const answer = await client.request("GET", archivePath(source.container), { query: { path } });
  if (place === undefined) {
    await pipeline(answer, context.stdout, { end: false });
    return 0;
  }
  const status = decodeStatus(answer.headers["x-docker-container-path-stat"]);
  if (status === undefined) throw new Error("the daemon did not tell what it sends");
  try {
    const from = { path: asked, exists: true, isDirectory: isDirectory(status) };
    const { directory, name } = landing(from, place);
    // The archive may have another root than what was asked for: a link was followed.
    return await unpack(answer, status.name, directory, name);
  } finally {
    answer.destroy();
  }
}

async function followed(context: Context, container: string, path: string): Promise<string> {
  const client = await context.client();
  const status = await statContainerPath(client, container, path);
  return status !== undefined && isSymlink(status) ? status.linkTarget : path;
}

function localPlace(context: Context, target: string): Place {
  const path = keepEnd(resolve(context.cwd, target), target);
  const status = statSync(path, { throwIfNoEntry: false });
  if (status !== undefined) return { path, exists: true, isDirectory: status.isDirectory() };
  const parent = posix.dirname(resolve(path));
  if (statSync(parent, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new Error(`invalid output path: directory "${parent}" does not exist`);
  }
  const dangling = lstatSync(resolve(path), { throwIfNoEntry: false }) !== undefined;
  if (dangling) throw new Error(`${target} is a link that leads nowhere`);
  return { path, exists: false, isDirectory: false };
}

async function unpack(archive: Readable, root: string, directory: string, name: string): Promise<number> {
  const rename = (path: string) => renamed(path, root, name);
  if (name !== ".") mkdirSync(directory, { recursive: true });
  using target = new RootDirectory(directory);
  using tree = new ExtractTree(target, "", { keepKinds: true, owner: "caller" });
  const reader = new TarReader({
    entry: (entry: TarEntry) =>
      tree.entry({
        ...entry,
        name: rename(entry.name),
        linkName: entry.type === "hardlink" ? rename(entry.linkName) : entry.linkName,
      }),
    data: (chunk, offset) => tree.data(chunk, offset),
    end: () => tree.end(),
  });
  let received = 0;
  for await (const chunk of archive as AsyncIterable<Buffer>) {
    received += chunk.length;
    reader.write(chunk);
  }
  reader.finish();
  tree.finish();
  return received;
}

/** "etc/passwd" with the root "etc" and the name "copy" → "copy/passwd". */
function renamed(path: string, root: string, name: string): string {
  const clean = posix.normalize(path);
  if (root === "." || root === "/") return `${name}/${clean}`;
  const [first = "", ...rest] = clean.split("/");
  return first === root ? [name, ...rest].join("/") : clean;
}
