/**
 * Work on a container's files, as storage workers do it. Everything that travels is plain data; descriptors travel as
 * numbers, since all threads of a process share them. Those of a task stay their owner's, who keeps them open until it has
 * ended; those of an answer are the receiver's.
 */
import { Socket } from "node:net";
import { BerthError } from "#errors/errors.ts";
import { type Aborted, ClientPace } from "#kernel/client-pace.ts";
import { DescriptorOutput, type Framing } from "#kernel/descriptor-output.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { fstatatIfExists, mountIdOf, S_IFDIR, S_IFMT } from "#kernel/file-syscalls.ts";
import { fstatfs } from "#kernel/file-system-status.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import {
  duplicate,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  open,
  openat,
  syncfs,
} from "#kernel/syscalls.ts";
import { makeFilesAs } from "#kernel/thread-identity.ts";
import type { LayerChange } from "#storage/changes/change-types.ts";
import { layerChanges } from "#storage/changes/layer-changes.ts";
import type { LayerComparison, Owner, UnpackResult } from "#storage/driver-types.ts";
import { type ExtractOptions, ExtractTree } from "#storage/files/extract-tree.ts";
import { absolutePath, followLinks, resolveInside } from "#storage/files/inside-path.ts";
import { describePath, findPath } from "#storage/files/path-status.ts";
import type { PathStatus, RootRequest } from "#storage/files/root-types.ts";
import { assembleRoot, takeRoot } from "#storage/files/take-root.ts";
import { uncompressed } from "#storage/files/uncompressed.ts";
import { packLayerChanges } from "#storage/pack/pack-changes.ts";
import { TreePacker } from "#storage/pack/pack-tree.ts";
import { TarReader } from "#storage/tar/tar-reader.ts";
import { endOfArchive } from "#storage/tar/tar-writer.ts";
import { type IdMap, keptOwnerInside, ownerInside, rootOf } from "#storage/unpack/id-map.ts";
import { LayerBuilder, type LayerTarget } from "#storage/unpack/layer-builder.ts";

export type FileTask =
  /** Answers LayerChange[]. */
  | { kind: "changes"; comparison: LayerComparison }
  /** Answers TakenPath, or undefined where nothing is at the path. */
  | { kind: "take"; root: RootRequest; path: string }
  /** `idMap`: whose the container's files are on the host; here and below. */
  | { kind: "pack"; taken: TakenPath; content: "named" | "inside"; sink: Sink; idMap: IdMap | undefined }
  | { kind: "extract"; root: RootRequest; path: string; source: number; options: ExtractOptions }
  /** Answers UnpackResult. */
  | { kind: "commit"; comparison: LayerComparison; target: LayerTarget };

/** Between two looks whether a client that sends nothing is still there. */
const LOOK_MS = 250;

/** Where an archive goes. */
export interface Sink {
  fd: number;
  framing: Framing;
}

/** A path in a root that was put together; the descriptors are the receiver's to close. */
export interface TakenPath {
  /** Owner of the mounts. */
  tree: number;
  /** The directory that holds it (O_PATH). */
  directory: number;
  /** "." for the directory itself. */
  name: string;
  status: PathStatus;
}

/** `aborted`: a cheap look whether somebody still wants the result. */
export async function performFileTask(task: FileTask, aborted: Aborted): Promise<unknown> {
  switch (task.kind) {
    case "changes":
      return tellChanges(task.comparison);
    case "take":
      return takePath(task.root, task.path);
    case "pack":
      return pack(task, new DescriptorOutput(task.sink.fd, task.sink.framing, aborted));
    case "extract":
      return await extract(task, aborted);
    case "commit":
      return commit(task);
  }
}

function tellChanges(comparison: LayerComparison): LayerChange[] {
  const changes: LayerChange[] = [];
  for (const { path, kind } of layerChanges(comparison)) changes.push({ path, kind });
  return changes;
}

function takePath(request: RootRequest, path: string): TakenPath | undefined {
  using tree = takeRoot(request);
  using root = new RootDirectory(tree.procPath);
  const inside = resolveInside(root, path);
  using found = findPath(root, inside);
  if (found === undefined) return undefined;
  const status = describePath(root, inside, found);
  return { tree: tree.release(), directory: found.directory.release(), name: found.name, status };
}

type PackTask = Extract<FileTask, { kind: "pack" }>;

/** "named": under its label, as for docker cp. "inside": what is in the directory, from the archive's root. */
function pack(task: PackTask, output: DescriptorOutput): void {
  for (const bytes of archiveOf(task)) output.write(bytes);
  output.write(endOfArchive);
  output.flush();
}

function* archiveOf({ taken, content, idMap }: PackTask): Generator<Buffer> {
  const { directory, name } = taken;
  const packer = new TreePacker({
    crossMounts: content === "named",
    ...(idMap && { ownerFor: (owner) => ownerInside(idMap, owner) }),
  });
  const status = fstatatIfExists(directory, name);
  if (status === undefined) return; // It went meanwhile.
  if ((status.mode & S_IFMT) !== S_IFDIR) {
    yield* packer.entry(directory, name, taken.status.name, status);
    return;
  }
  using here = new FileDescriptor(openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (content === "inside") yield* packer.children(here.number, "");
  else yield* packer.directory(here.number, taken.status.name);
}

/** The thread stays in its private mounts until all is written, so that the kernel knows what something is mounted on. */
async function extract(
  { root: request, path, source, options }: Extract<FileTask, { kind: "extract" }>,
  aborted: Aborted,
): Promise<void> {
  const input = new Socket({ fd: duplicate(source), readable: true, writable: false });
  try {
    using assembled = assembleRoot(request);
    const { root } = assembled;
    using _owner = options.idMap && makeFilesAs(rootOf(options.idMap));
    const directory = followLinks(root, absolutePath(path));
    checkTarget(root, directory, path);
    using tree = new ExtractTree(root, directory, options);
    const reader = new TarReader(tree);
    const pace = new ClientPace(aborted);
    using _looks = every(LOOK_MS, () => {
      if (pace.waited(LOOK_MS)) input.destroy(cancelled());
    });
    for await (const chunk of uncompressed(input)) {
      if (pace.moved(chunk.length)) throw cancelled();
      reader.write(chunk);
    }
    reader.finish();
    tree.finish();
  } finally {
    input.destroy();
  }
}

function cancelled(): DOMException {
  return new DOMException("extracting was cancelled", "AbortError");
}

function every(milliseconds: number, look: () => void): Disposable {
  const timer = setInterval(look, milliseconds);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function checkTarget(root: RootDirectory, directory: string, path: string): void {
  const detail = { operation: "extract archive", object: path };
  const status = root.stat(directory);
  if (status === undefined) throw new BerthError("not-found", `Could not find the file ${path}`, detail);
  if ((status.mode & S_IFMT) !== S_IFDIR) {
    throw new BerthError("invalid", "extraction point is not a directory", detail);
  }
  using target = root.open(directory, O_PATH | O_DIRECTORY);
  if (!fstatfs(target.number).readOnly) return;
  const own = mountIdOf(target.number) === mountIdOf(root.descriptor);
  const what = own ? "container rootfs is marked read-only" : "mounted volume is marked read-only";
  throw new BerthError("forbidden", what, detail);
}

/** A container's changes as a layer of their own: packed, hashed and unpacked in one go, on the disk when it returns. */
function commit({ comparison, target }: Extract<FileTask, { kind: "commit" }>): UnpackResult {
  using builder = new LayerBuilder(target);
  const { idMap } = target;
  const options = idMap && { ownerFor: (owner: Owner) => keptOwnerInside(idMap, owner) };
  for (const bytes of packLayerChanges(comparison, options)) builder.write(bytes);
  const result = builder.finish();
  using directory = new FileDescriptor(open(target.target, O_RDONLY | O_DIRECTORY));
  syncfs(directory.number);
  if (target.layout !== undefined) {
    // Where layers are devices it is on another file system than they.
    using layout = new FileDescriptor(open(target.layout, O_RDONLY | O_DIRECTORY));
    if (mountIdOf(layout.number) !== mountIdOf(directory.number)) syncfs(layout.number);
  }
  return result;
}
