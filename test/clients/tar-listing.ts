/** The entries of a tar archive as lines that can be compared, contents as digests. */
import { createHash, type Hash } from "node:crypto";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import { TarReader } from "#storage/tar/tar-reader.ts";

interface Listed {
  entry: TarEntry;
  digest: string;
}

export class TarListing {
  readonly #entries: Listed[];

  constructor(archive: Buffer) {
    this.#entries = read(archive);
  }

  names(): string[] {
    return this.#entries.map(({ entry }) => plain(entry.name));
  }

  /**
   * Sorted by name. Times to the second, of what was not made just now; those of directories depend on how the engine
   * fills them, and a whiteout is only a name.
   */
  lines(): string[] {
    const young = BigInt(Date.now() - 24 * 3600 * 1000) * 1_000_000n;
    return this.#entries
      .map(({ entry, digest }) => {
        if (/(^|\/)\.wh\./.test(entry.name)) return plain(entry.name);
        const { type, mode, uid, gid, size, linkName, major, minor, modifiedAt } = entry;
        const time = modifiedAt > young || type === "directory" ? "" : String(modifiedAt / 1_000_000_000n);
        const xattrs = [...entry.xattrs].map(([name, value]) => `${name}=${value.toString("hex")}`).join(",");
        const kind = `${type} ${mode.toString(8)} ${uid}:${gid}`;
        return `${plain(entry.name)}: ${kind} ${size} ${major},${minor} ${time} →${linkName} ${xattrs} ${digest}`;
      })
      .sort();
  }
}

function plain(name: string): string {
  return name.replace(/^\.?\//, "").replace(/\/$/, "");
}

function read(archive: Buffer): Listed[] {
  const entries: Listed[] = [];
  let hash: Hash | undefined;
  const reader = new TarReader({
    entry: (entry) => {
      hash = createHash("sha256");
      entries.push({ entry, digest: "" });
    },
    data: (chunk) => hash?.update(chunk),
    end: () => {
      const last = entries.at(-1);
      if (last?.entry.type === "file") last.digest = hash?.digest("hex").slice(0, 16) ?? "";
    },
  });
  reader.write(archive);
  reader.finish();
  return entries;
}
