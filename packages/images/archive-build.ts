/**
 * Builds small archives in memory: a layer from a list of files, a docker-archive from layers and a configuration.
 *
 * For images made here (the busybox image, tests), not for unpacking or saving: everything is in memory at once. The same
 * input always gives the same bytes.
 */
import type { TarEntry, TarEntryType } from "#storage/tar/tar-entry.ts";
import { encodeEntry, endOfArchive, paddingFor } from "#storage/tar/tar-writer.ts";
import { digestOf, hexOf } from "./digest.ts";

export interface NewEntry {
  type: TarEntryType;
  name: string;
  mode?: number;
  uid?: number;
  gid?: number;
  linkName?: string;
  content?: string | Uint8Array;
  major?: number;
  minor?: number;
  xattrs?: Record<string, string>;
}

/** A tar archive of these entries, in this order, all with the time `modified` (seconds since the epoch). */
export function buildTar(entries: readonly NewEntry[], modified = 0): Buffer {
  const parts: Buffer[] = [];
  for (const entry of entries) {
    const content = Buffer.from(entry.content ?? "");
    parts.push(encodeEntry(fullEntry(entry, content.length, modified)), content, paddingFor(content.length));
  }
  parts.push(endOfArchive);
  return Buffer.concat(parts);
}

export interface BuiltImage {
  /** "sha256:…" */
  id: string;
  config: Buffer;
  /** Uncompressed archives, lowest first. */
  layers: Buffer[];
}

/** An image of these layers; `document` is its configuration document without `rootfs`. */
export function buildImage(layers: readonly Buffer[], document: Record<string, unknown>): BuiltImage {
  const config = Buffer.from(
    JSON.stringify({ ...document, rootfs: { type: "layers", diff_ids: layers.map(digestOf) } }),
  );
  return { id: digestOf(config), config, layers: [...layers] };
}

/** The archive `docker load` takes. */
export function dockerArchive(
  images: readonly { image: BuiltImage; tags: readonly string[] }[],
  modified = 0,
): Buffer {
  const entries = new Map<string, NewEntry>();
  const put = (name: string, content: string | Uint8Array) =>
    entries.set(name, { type: "file", name, mode: 0o644, content });
  const manifest = images.map(({ image, tags }) => {
    const config = `${hexOf(image.id)}.json`;
    put(config, image.config);
    const layers = image.layers.map((layer) => {
      const name = `${hexOf(digestOf(layer))}.tar`;
      put(name, layer);
      return name;
    });
    return { Config: config, RepoTags: tags, Layers: layers };
  });
  put("manifest.json", JSON.stringify(manifest));
  return buildTar([...entries.values()], modified);
}

function fullEntry(entry: NewEntry, size: number, modified: number): TarEntry {
  return {
    type: entry.type,
    name: entry.name,
    linkName: entry.linkName ?? "",
    mode: entry.mode ?? (entry.type === "directory" ? 0o755 : 0o644),
    uid: entry.uid ?? 0,
    gid: entry.gid ?? 0,
    userName: "",
    groupName: "",
    size,
    modifiedAt: BigInt(modified) * 1_000_000_000n,
    major: entry.major ?? 0,
    minor: entry.minor ?? 0,
    xattrs: new Map(Object.entries(entry.xattrs ?? {}).map(([name, value]) => [name, Buffer.from(value)])),
  };
}
