/**
 * A container's init layer: mount points and empty files that the runtime mounts over (/proc, /etc/hosts …), kept out of
 * the container's own layer so that `diff` and `commit` do not show them.
 *
 * What has to be made depends only on the image's layers: the plan is worked out by a look at them, and can be kept
 * for as long as they exist.
 */
import { FileDescriptor } from "#kernel/fd.ts";
import { fchmodat, fchownat, mkdirat, S_IFDIR, S_IFMT, symlinkat } from "#kernel/file-syscalls.ts";
import { O_CREAT, O_EXCL, O_WRONLY, openat } from "#kernel/syscalls.ts";
import type { LayerView, Owner, Whiteouts } from "#storage/driver-types.ts";
import { makeOpaque } from "#storage/layer-marks.ts";
import { LayerStack } from "#storage/layered-lookup.ts";

const directories = ["dev/pts", "dev/shm", "proc", "sys"];
const files = [".dockerenv", "dev/console", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
const links: [path: string, target: string][] = [["etc/mtab", "/proc/mounts"]];

/** Mode of what is made here, directories and files alike; Docker's. */
const ownMode = 0o755;

export type InitStep =
  | {
      kind: "directory";
      path: string;
      mode: number;
      /** Undefined for one that the image does not have: its owner is the mount points'. */
      owner: Owner | undefined;
      /** Something that is no directory has this name below: nothing of it may show. */
      opaque: boolean;
    }
  | { kind: "file"; path: string }
  | { kind: "symlink"; path: string; target: string };

/** What to make above the image's layers, parents before children. */
export function planInitLayer({ directories: layers, whiteouts }: LayerView): InitStep[] {
  using image = new LayerStack(layers, whiteouts);
  const steps: InitStep[] = [];
  const planned = new Set<string>();
  const below = (path: string) => image.stat(path, { follow: false });

  const addDirectory = (path: string): void => {
    if (path === "" || planned.has(path)) return;
    addDirectory(parentOf(path));
    planned.add(path);
    const status = below(path);
    const isDirectory = status !== undefined && (status.mode & S_IFMT) === S_IFDIR;
    steps.push({
      kind: "directory",
      path,
      mode: isDirectory ? status.mode & 0o7777 : ownMode,
      owner: isDirectory ? { uid: status.uid, gid: status.gid } : undefined,
      opaque: status !== undefined && !isDirectory,
    });
  };

  for (const path of directories) {
    const status = below(path);
    if (status === undefined || (status.mode & S_IFMT) !== S_IFDIR) addDirectory(path);
  }
  // Files are made even where the image has them: what the image put there must not be what is mounted over.
  for (const path of files) {
    addDirectory(parentOf(path));
    steps.push({ kind: "file", path });
  }
  for (const [path, target] of links) {
    addDirectory(parentOf(path));
    steps.push({ kind: "symlink", path, target });
  }
  return steps;
}

/** Makes the layer's content in an empty directory. Names are ours and the directory is new: no link can be in the way. */
export function makeInitLayer(
  directory: number,
  steps: readonly InitStep[],
  { uid, gid }: Owner,
  whiteouts: Whiteouts,
): void {
  for (const step of steps) {
    makeInitStep(directory, step, uid, gid);
    if (step.kind === "directory" && step.opaque) makeOpaque(whiteouts, directory, step.path, { uid, gid });
  }
}

/** Makes one file, directory or link that is not there yet; `uid` and `gid` own what the image does not describe. */
export function makeInitStep(directory: number, step: InitStep, uid: number, gid: number): void {
  switch (step.kind) {
    case "directory":
      mkdirat(directory, step.path, 0o700);
      fchownat(directory, step.path, step.owner?.uid ?? uid, step.owner?.gid ?? gid);
      fchmodat(directory, step.path, step.mode);
      break;
    case "file":
      new FileDescriptor(openat(directory, step.path, O_WRONLY | O_CREAT | O_EXCL, ownMode)).close();
      fchmodat(directory, step.path, ownMode);
      fchownat(directory, step.path, uid, gid);
      break;
    case "symlink":
      symlinkat(step.target, directory, step.path);
      fchownat(directory, step.path, uid, gid);
  }
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

/** Plans by the image layer that containers are put on; each is kept until that goes. */
export class InitPlans {
  readonly #plans = new Map<string, InitStep[]>();

  /** `view`: of the layers from `parent` down. */
  of(parent: string | undefined, view: () => LayerView): InitStep[] {
    const key = parent ?? "";
    let plan = this.#plans.get(key);
    if (plan === undefined) {
      plan = planInitLayer(view());
      this.#plans.set(key, plan);
    }
    return plan;
  }

  forget(parent: string): void {
    this.#plans.delete(parent);
  }
}
