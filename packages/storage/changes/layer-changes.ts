/**
 * What a container changed in its root: the entries that its layer adds, changes or hides, against the layers below.
 *
 * As Docker tells it: a directory counts as changed when its mode or owner did or something below it did; of a
 * removed directory only its own name is told; a file that was only read, or opened and left alone, is not told. Nothing
 * is mounted: whiteouts and opaque directories are understood here, whole trees are compared. Reads only; runs in
 * a worker. No link is followed.
 */
import { FileDescriptor } from "#kernel/fd.ts";
import {
  type FileStatus,
  fstatatIfExists,
  listDirectory,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
} from "#kernel/file-syscalls.ts";
import { pathBytes } from "#kernel/path-bytes.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, open, tryOpenat } from "#kernel/syscalls.ts";
import { getXattr, xattrPath } from "#kernel/xattr-syscalls.ts";
import type { ChangeKind, LayerChange } from "#storage/changes/change-types.ts";
import type { LayerComparison, Whiteouts } from "#storage/driver-types.ts";
import { isOpaque, nameInLayer } from "#storage/layer-marks.ts";
import { type Found, LayerStack, lookUp, visibleNames } from "#storage/layered-lookup.ts";

const changeKinds = { modified: 0, added: 1, deleted: 2 } as const satisfies Record<string, ChangeKind>;

/** A change with the open directory it is in, for who wants the content too; valid until the next one is asked for. */
export interface FoundChange extends LayerChange {
  parent: number;
  name: string;
  /** What is there now; undefined for what was deleted. */
  status: FileStatus | undefined;
}

/**
 * Every change, directories before what is in them, names in the order of their bytes, what was deleted after what is there.
 */
export function* layerChanges(comparison: LayerComparison): Generator<FoundChange> {
  using lower = new LayerStack(comparison.lower, comparison.whiteouts);
  using root = new FileDescriptor(open(comparison.directory, O_RDONLY | O_DIRECTORY));
  using below = lower.root();
  // The layer holds everything: there are no marks, and what is missing was deleted.
  const whole = comparison.whiteouts === "apply";
  yield* new Walk(comparison.whiteouts).directory(root, below, "", whole, undefined);
}

/** A directory that is told once something below it has changed. */
interface Waiting {
  change: FoundChange;
  told: boolean;
  above: Waiting | undefined;
}

class Walk {
  readonly #whiteouts: Whiteouts;

  constructor(whiteouts: Whiteouts) {
    this.#whiteouts = whiteouts;
  }

  /** `all`: names of `below` that `here` does not have are gone, not just unchanged. */
  *directory(
    here: FileDescriptor,
    below: Found | undefined,
    path: string,
    all: boolean,
    waiting: Waiting | undefined,
  ): Generator<FoundChange> {
    const names = byBytes(listDirectory(here.number));
    const deleted = new Set<string>();
    const kept = new Set<string>();
    for (const name of names) {
      const status = fstatatIfExists(here.number, name);
      // Gone since it was listed: the tree of a running container changes.
      if (status === undefined) continue;
      const meaning = nameInLayer(this.#whiteouts, name, status);
      if (meaning.kind === "mark") continue;
      if (meaning.kind === "hides") {
        using hidden = below && lookUp(below, meaning.name);
        if (hidden !== undefined) deleted.add(meaning.name);
        continue;
      }
      kept.add(name);
      using old = below && lookUp(below, name);
      yield* this.#entry({ here, name, path: `${path}/${name}`, status, old, all, waiting });
    }
    if (all && below !== undefined) {
      for (const name of visibleNames(below)) deleted.add(name);
    }
    for (const name of byBytes([...deleted].filter((name) => !kept.has(name)))) {
      yield* tell(waiting);
      const kind = changeKinds.deleted;
      yield { path: `${path}/${name}`, kind, parent: here.number, name, status: undefined };
    }
  }

  *#entry(entry: {
    here: FileDescriptor;
    name: string;
    path: string;
    status: FileStatus;
    old: Found | undefined;
    all: boolean;
    waiting: Waiting | undefined;
  }): Generator<FoundChange> {
    const { here, name, path, status, old, waiting } = entry;
    const oldStatus = old?.status;
    const kind = oldStatus === undefined ? changeKinds.added : changeKinds.modified;
    const change: FoundChange = { path, kind, parent: here.number, name, status };
    const own: Waiting = { change, told: false, above: waiting };
    if (old === undefined || oldStatus === undefined || differ(here, name, status, old, oldStatus)) {
      yield* tell(own);
    }
    if (!isDirectory(status)) return;
    const fd = tryOpenat(here.number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0) return; // It went, or became something else, meanwhile.
    using child = new FileDescriptor(fd);
    const below = oldStatus !== undefined && isDirectory(oldStatus) ? old : undefined;
    yield* this.directory(child, below, path, entry.all || isOpaque(this.#whiteouts, child), own);
  }
}

function* tell(waiting: Waiting | undefined): Generator<FoundChange> {
  if (waiting === undefined || waiting.told) return;
  yield* tell(waiting.above);
  waiting.told = true;
  yield waiting.change;
}

/** Times and sizes of directories say nothing: they change with what is in them. */
function differ(
  parent: FileDescriptor,
  name: string,
  now: FileStatus,
  old: Found,
  before: FileStatus,
): boolean {
  if (now.mode !== before.mode || now.uid !== before.uid || now.gid !== before.gid) return true;
  if (now.special.major !== before.special.major || now.special.minor !== before.special.minor) return true;
  if (isDirectory(now)) return false;
  if (now.size !== before.size || !sameTime(now.modifiedAt, before.modifiedAt)) return true;
  if ((now.mode & S_IFMT) !== S_IFREG) return false;
  return !capabilities(parent.number, name).equals(capabilitiesOf(old));
}

const capabilityAttribute = "security.capability";

function capabilities(parent: number, name: string): Buffer {
  return getXattr(xattrPath(parent, name), capabilityAttribute) ?? Buffer.alloc(0);
}

function capabilitiesOf({ handles: [file] }: Found): Buffer {
  if (file === undefined) return Buffer.alloc(0);
  using readable = new FileDescriptor(open(file.procPath, O_RDONLY));
  return getXattr(readable.number, capabilityAttribute) ?? Buffer.alloc(0);
}

/** As Docker: archives without fractions of seconds must not make everything look changed. */
function sameTime(a: bigint, b: bigint): boolean {
  const second = 1_000_000_000n;
  if (a === b) return true;
  return a / second === b / second && (a % second === 0n || b % second === 0n);
}

function isDirectory(status: FileStatus): boolean {
  return (status.mode & S_IFMT) === S_IFDIR;
}

function byBytes(names: readonly string[]): string[] {
  return names
    .map((name) => ({ name, bytes: pathBytes(name) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ name }) => name);
}
