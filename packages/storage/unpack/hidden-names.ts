/**
 * What an archive hides of the layers below: by marks in the layer, or, where it begins as all of the one below, by removal.
 *
 * An entry of the same layer is never hidden, whichever of the two comes first. Paths are those in the layer, without links.
 */
import { fchownat, fstatatIfExists, S_IFDIR, S_IFMT, utimensat } from "#kernel/file-syscalls.ts";
import type { RootDirectory } from "#kernel/root-directory.ts";
import { O_DIRECTORY, O_RDONLY } from "#kernel/syscalls.ts";
import type { Owner, Whiteouts } from "#storage/driver-types.ts";
import { isReserved, makeOpaque, makeWhiteout, takeWhiteoutAway } from "#storage/layer-marks.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import { mustChown } from "#storage/unpack/entry-attributes.ts";
import { joinPath, lastName, parentPath } from "#storage/unpack/entry-path.ts";
import type { OpenDirectories } from "#storage/unpack/open-directories.ts";
import type { OwnEntries } from "#storage/unpack/own-entries.ts";
import { naming } from "#storage/unpack/unpack-errors.ts";

export class HiddenNames {
  readonly #kind: Whiteouts;
  readonly #root: RootDirectory;
  readonly #directories: OpenDirectories;
  readonly #own: OwnEntries;
  /** Names that got a mark: they stay hidden, whatever comes later. */
  readonly #marked = new Set<string>();

  constructor(kind: Whiteouts, root: RootDirectory, directories: OpenDirectories, own: OwnEntries) {
    this.#kind = kind;
    this.#root = root;
    this.#directories = directories;
    this.#own = own;
  }

  /** Is one of the names in a path kept for marks? Then the layer can have nothing there. */
  isReserved(path: string): boolean {
    return this.#kind === "aufs" && path.split("/").some((name) => isReserved(this.#kind, name));
  }

  /** Hides one name; `entry` says so, and gives the mark its owner and time. */
  hide(directory: string, name: string, entry: TarEntry): void {
    if (this.#kind === "apply") {
      const parent = this.#directories.getIfExists(directory);
      if (parent === undefined) return;
      const path = joinPath(parent.path, name);
      if (!this.#own.has(path)) this.#own.clear(parent.fd, name, path);
      return;
    }
    const parent = this.#directories.get(directory);
    const existing = fstatatIfExists(parent.fd, name);
    if (existing === undefined) {
      const made = makeWhiteout(this.#kind, parent.fd, name);
      if (mustChown(entry, parent)) fchownat(parent.fd, made, entry.uid, entry.gid);
      utimensat(parent.fd, made, entry.modifiedAt, entry.modifiedAt);
      this.#marked.add(joinPath(parent.path, name));
    } else if ((existing.mode & S_IFMT) === S_IFDIR) {
      // This layer brings a directory of that name: only the lower one is hidden.
      makeOpaque(this.#kind, parent.fd, name, entry);
    }
  }

  /** The directory hides everything that lower layers have in it. */
  hideAll(path: string, owner: Owner): void {
    if (this.#kind !== "apply") {
      makeOpaque(this.#kind, this.#directories.get(path).fd, "", owner);
      return;
    }
    const directory = this.#directories.getIfExists(path);
    if (directory !== undefined) this.#own.clearOthers(directory.fd, directory.path);
    this.#directories.forget();
  }

  /** Does the mark that hides a name stand in the name's own place, so that it goes when an entry takes that? */
  isMarkInPlace(path: string): boolean {
    return this.#kind === "overlay" && this.#marked.has(path);
  }

  /** After the last entry: where one came after the mark for its name, the mark goes, and a directory hides what it hid. */
  settle(): void {
    if (this.#kind !== "aufs") return;
    for (const path of this.#marked) {
      naming(path, () => {
        const name = lastName(path);
        using parent = this.#root.openWithoutLinks(parentPath(path), O_RDONLY | O_DIRECTORY);
        const status = parent && fstatatIfExists(parent.number, name);
        if (parent === undefined || status === undefined) return;
        if (!takeWhiteoutAway(this.#kind, parent.number, name)) return;
        if ((status.mode & S_IFMT) === S_IFDIR) makeOpaque(this.#kind, parent.number, name, status);
      });
    }
  }
}
