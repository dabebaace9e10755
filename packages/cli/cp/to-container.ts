/** `cp` into a container: a file or tree of this machine, or an archive from stdin, is sent to be unpacked there. */
import { lstatSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { Readable } from "node:stream";
import type { Context } from "#cli/command.ts";
import { archivePath, containerPlace } from "#cli/cp/container-path.ts";
import { keepEnd, landing } from "#cli/cp/copy-paths.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { fstatat } from "#kernel/file-syscalls.ts";
import { O_DIRECTORY, O_RDONLY, open } from "#kernel/syscalls.ts";
import { TreePacker } from "#storage/pack/pack-tree.ts";
import { endOfArchive } from "#storage/tar/tar-writer.ts";

export interface CopyOptions {
  followLink: boolean;
  copyOwner: boolean;
}

/** Answers how many bytes were sent. */
export async function copyToContainer(
  context: Context,
  source: string,
  target: { container: string; path: string },
  options: CopyOptions,
): Promise<number> {
  const client = await context.client();
  const place = await containerPlace(client, target.container, target.path);
  if (source === "-") {
    if (!place.isDirectory) {
      throw new Error(`destination "${target.container}:${target.path}" must be a directory`);
    }
    return await put(context, target.container, place.path, context.stdin, options);
  }
  const from = localSource(context, source, options.followLink);
  const { directory, name } = landing(from, place);
  const archive = Readable.from(packLocal(from.real, from.isDirectory, name), { objectMode: false });
  return await put(context, target.container, directory, archive, options);
}

function localSource(context: Context, source: string, followLink: boolean) {
  const path = keepEnd(resolve(context.cwd, source), source);
  try {
    // A link with a slash behind it is what it leads to, as everywhere.
    const follow = followLink || /\/\.?$/.test(path);
    const isDirectory = (follow ? statSync(path) : lstatSync(path)).isDirectory();
    return { path, real: follow ? realpathSync(path) : path, exists: true, isDirectory };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(`lstat ${resolve(path)}: ${code === "ENOENT" ? "no such file or directory" : message}`);
  }
}

function* packLocal(path: string, isDirectory: boolean, name: string): Generator<Buffer> {
  const packer = new TreePacker({ crossMounts: true });
  if (isDirectory) {
    using directory = new FileDescriptor(open(path, O_RDONLY | O_DIRECTORY));
    yield* packer.directory(directory.number, name);
  } else {
    using parent = new FileDescriptor(open(dirname(path), O_RDONLY | O_DIRECTORY));
    const own = basename(path);
    yield* packer.entry(parent.number, own, name, fstatat(parent.number, own));
  }
  yield endOfArchive;
}

async function put(
  context: Context,
  container: string,
  path: string,
  archive: Readable,
  { copyOwner }: CopyOptions,
): Promise<number> {
  const client = await context.client();
  let sent = 0;
  async function* counted() {
    for await (const piece of archive as AsyncIterable<Buffer>) {
      sent += piece.length;
      yield piece;
    }
  }
  await client.text("PUT", archivePath(container), {
    query: { path, noOverwriteDirNonDir: true, ...(copyOwner && { copyUIDGID: true }) },
    headers: { "Content-Type": "application/x-tar" },
    stream: Readable.from(counted(), { objectMode: false }),
  });
  return sent;
}
