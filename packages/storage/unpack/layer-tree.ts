/**
 * Writes archive entries into a layer directory.
 *
 * Every name is made in a directory opened inside the root by the kernel (RootDirectory), so whatever an archive says
 * stays below it. What the kernel answers is turned into errors that name the entry. The thread's umask must be 0.
 */
import { futimens } from "#kernel/file-syscalls.ts";
import { pathBytes } from "#kernel/path-bytes.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import { O_DIRECTORY, O_RDONLY } from "#kernel/syscalls.ts";
import { treeSize } from "#kernel/tree-size.ts";
import type { Whiteouts } from "#storage/driver-types.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import type { TarHandler } from "#storage/tar/tar-reader.ts";
import { dressDirectory, dressFile } from "#storage/unpack/entry-attributes.ts";
import { entryPath, lastName, meaningOf, parentPath } from "#storage/unpack/entry-path.ts";
import { HiddenNames } from "#storage/unpack/hidden-names.ts";
import { type IdMap, mapId } from "#storage/unpack/id-map.ts";
import { IncomingFile } from "#storage/unpack/incoming-file.ts";
import { type EntryPlace, NewEntries, placeIn } from "#storage/unpack/new-entries.ts";
import { type DirectoryAttributes, OpenDirectories } from "#storage/unpack/open-directories.ts";
import { type KeepContent, OwnEntries } from "#storage/unpack/own-entries.ts";
import { invalid, naming } from "#storage/unpack/unpack-errors.ts";

export interface LayerTreeOptions {
  /** How whiteouts are written: as marks, or by removing what they hide. */
  whiteouts: Whiteouts;
  /** Attributes of a directory in the layers below, for directories the archive implies without describing them. */
  lowerDirectory?: (path: string) => DirectoryAttributes | undefined;
  /** Told of each directory that the archive describes. */
  describes?: (path: string) => void;
  /** Whose the files are on the host. */
  idMap?: IdMap;
  /** Takes away what a later entry replaces, to keep its content; without it, that is deleted. */
  keep?: KeepContent;
}

/** A file whose content is arriving. */
interface OpenFile extends EntryPlace {
  incoming: IncomingFile;
}

export class LayerTree implements TarHandler, Disposable {
  /** Bytes of the layer's files and symbolic links, each once; right after `finish`. */
  size = 0;
  /** Has the archive an entry for the root itself? */
  describesRoot = false;
  readonly #target: string;
  readonly #root: RootDirectory;
  readonly #directories: OpenDirectories;
  readonly #own: OwnEntries;
  readonly #hidden: HiddenNames;
  readonly #entries: NewEntries;
  /** The layer holds its own entries alone. */
  readonly #alone: boolean;
  readonly #describes: LayerTreeOptions["describes"];
  readonly #idMap: IdMap | undefined;
  /** Times of directories: set last, since making entries changes them. */
  readonly #directoryTimes = new Map<string, { accessedAt: bigint; modifiedAt: bigint }>();
  #file: OpenFile | undefined;

  constructor(target: string, { whiteouts, lowerDirectory, describes, idMap, keep }: LayerTreeOptions) {
    this.#target = target;
    this.#root = new RootDirectory(target);
    this.#idMap = idMap;
    const owner = { uid: 0, gid: 0 };
    this.#giveToHost(owner);
    this.#directories = new OpenDirectories(
      this.#root,
      (path) => lowerDirectory?.(path) ?? { mode: 0o755, ...owner },
    );
    this.#alone = whiteouts !== "apply";
    this.#own = new OwnEntries(!this.#alone, keep);
    this.#hidden = new HiddenNames(whiteouts, this.#root, this.#directories, this.#own);
    this.#entries = new NewEntries(this.#root, this.#directories, this.#own, this.#hidden);
    this.#describes = describes;
  }

  [Symbol.dispose](): void {
    this.#file?.incoming[Symbol.dispose]();
    this.#file = undefined;
    this.#directories[Symbol.dispose]();
    this.#root[Symbol.dispose]();
  }

  entry(entry: TarEntry): void {
    naming(entry.name, () => {
      if (this.#own.stale) this.#directories.forget();
      this.#own.stale = false;
      this.#giveToHost(entry);
      this.#take(entry);
    });
  }

  /** Owners as the host has them. */
  #giveToHost(entry: { uid: number; gid: number }): void {
    if (this.#idMap === undefined) return;
    entry.uid = mapId(this.#idMap.uids, entry.uid);
    entry.gid = mapId(this.#idMap.gids, entry.gid);
  }

  #take(entry: TarEntry): void {
    const path = entryPath(entry.name);
    if (path === "") {
      this.#describeRoot(entry);
      return;
    }
    const directory = parentPath(path);
    const name = lastName(path);
    if (this.#hidden.isReserved(directory))
      throw invalid(entry.name, "has a name that AUFS keeps for its marks");
    const meaning = meaningOf(name);
    switch (meaning.kind) {
      case "marker":
        return;
      case "opaque":
        this.#hidden.hideAll(directory, entry);
        return;
      case "whiteout":
        this.#hidden.hide(directory, meaning.hidden, entry);
        return;
      case "entry":
        this.#make(entry, path, placeIn(this.#directories.get(directory), name));
    }
  }

  /** "./" describes the root itself. */
  #describeRoot(entry: TarEntry): void {
    if (entry.type !== "directory") throw invalid(entry.name, "is the root and no directory");
    this.describesRoot = true;
    dressDirectory(this.#directories.get("").fd, entry);
    this.#rememberTimes("", entry);
    this.#directories.forget();
  }

  /** `asked`: the path as the archive has it. */
  #make(entry: TarEntry, asked: string, place: EntryPlace): void {
    switch (entry.type) {
      case "file":
        this.#file = { ...place, incoming: new IncomingFile(this.#entries.createFile(place, entry), entry) };
        break;
      case "directory":
        this.#entries.makeDirectory(place, entry);
        this.#describes?.(place.path);
        this.#rememberTimes(asked, entry);
        break;
      case "hardlink":
        this.#entries.makeHardLink(place, entry);
        break;
      case "symlink":
        this.#entries.makeSymbolicLink(place, entry);
        this.size += pathBytes(entry.linkName).length;
        break;
      default:
        this.#entries.makeNode(place, entry, entry.type);
    }
    this.#own.add(place.path);
  }

  #rememberTimes(path: string, entry: TarEntry): void {
    this.#directoryTimes.set(path, {
      accessedAt: entry.accessedAt ?? entry.modifiedAt,
      modifiedAt: entry.modifiedAt,
    });
  }

  data(chunk: Buffer, offset: number): void {
    const incoming = this.#file?.incoming;
    if (incoming === undefined) return;
    naming(incoming.entry.name, () => incoming.write(chunk, offset));
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    const { incoming, parent } = file;
    const { entry } = incoming;
    naming(entry.name, () => incoming.finish((fd) => dressFile(fd, entry, parent)));
    this.size += entry.size;
  }

  /** Where the content of the current entry goes; undefined if it goes nowhere. Links are resolved. */
  get contentPath(): string | undefined {
    return this.#file?.path;
  }

  /** Settles what is hidden, the size, and the times of directories; after the last entry. */
  finish(): void {
    this.#hidden.settle();
    if (this.#own.replaced && this.#alone) this.size = treeSize(this.#target);
    for (const [path, { accessedAt, modifiedAt }] of this.#directoryTimes) {
      naming(path, () => {
        using directory = this.#root.openIfExists(path, O_RDONLY | O_DIRECTORY);
        if (directory !== undefined) futimens(directory.number, accessedAt, modifiedAt);
      });
    }
  }
}
