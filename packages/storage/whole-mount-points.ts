/**
 * A container's mount points in a tree that holds the whole image, where the init layer of other drivers holds them alone
 * (init-layer.ts). What is in their place goes; the tree is nobody else's yet.
 */
import { S_IFDIR, S_IFMT, unlinkat } from "#kernel/file-syscalls.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import type { Owner } from "#storage/driver-types.ts";
import { type InitStep, makeInitStep, planInitLayer } from "#storage/init-layer.ts";
import type { StorageWorkers } from "#storage/worker/storage-workers.ts";

/** `owner` has what the image does not describe; directories that are in the way are removed in a worker. */
export async function makeMountPoints(
  directory: string,
  owner: Partial<Owner>,
  workers: StorageWorkers,
): Promise<void> {
  using root = new RootDirectory(directory);
  for (const step of planInitLayer({ directories: [directory], whiteouts: "apply" }))
    await makeMountPoint(root, step, owner, workers);
}

async function makeMountPoint(
  root: RootDirectory,
  step: InitStep,
  { uid = 0, gid = 0 }: Partial<Owner>,
  workers: StorageWorkers,
): Promise<void> {
  const existing = root.lstat(step.path);
  if (step.kind === "directory" && !step.opaque && existing !== undefined) return;
  // Every directory on the way has a step of its own before: none of them is a link by now.
  const { directory, name } = root.openParent(step.path);
  using parent = directory;
  if (existing !== undefined && (existing.mode & S_IFMT) === S_IFDIR) {
    await workers.run({ kind: "remove", path: `${parent.procPath}/${name}` });
  } else if (existing !== undefined) unlinkat(parent.number, name);
  makeInitStep(parent.number, { ...step, path: name }, uid, gid);
}
