/** Entries and archives for tests, with what hardly any of them cares about filled in. */
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import { encodeEntry, endOfArchive, paddingFor } from "#storage/tar/tar-writer.ts";

/** An empty file of root's from 1970, but for what is given. */
export function tarEntry(fields: Partial<TarEntry> & { name: string }): TarEntry {
  return {
    type: "file",
    linkName: "",
    mode: 0o644,
    uid: 0,
    gid: 0,
    userName: "",
    groupName: "",
    size: 0,
    modifiedAt: 0n,
    major: 0,
    minor: 0,
    xattrs: new Map(),
    ...fields,
  };
}

export type Item = Partial<TarEntry> & { name: string; content?: string };

/** An archive of entries from 2020; files unless they say otherwise. */
export function archiveOf(...items: Item[]): Buffer {
  const parts = items.flatMap(({ content = "", ...fields }) => {
    const bytes = Buffer.from(content);
    const entry = tarEntry({
      mode: fields.type === "directory" ? 0o755 : 0o644,
      size: bytes.length,
      modifiedAt: 1_600_000_000_000_000_000n,
      ...fields,
    });
    return [encodeEntry(entry), bytes, paddingFor(bytes.length)];
  });
  return Buffer.concat([...parts, endOfArchive]);
}
