/**
 * The archive that docker save writes: an OCI layout that is also a docker-archive, as Docker does since 25.
 *
 * Pure. What tells about the images comes first, so that a reader of the stream knows what each layer is for when it
 * comes. The same images and names give the same bytes.
 */

import type { TarEntry } from "#storage/tar/tar-entry.ts";
import { encodeEntry, endOfArchive, paddingFor } from "#storage/tar/tar-writer.ts";
import { type Digest, digestOf, hexOf } from "./digest.ts";
import { type ImageName, nameText } from "./image-names.ts";

export interface SavedLayer {
  diffId: Digest;
  /** Bytes of its archive, uncompressed. */
  size: number;
}

export interface SavedImage {
  id: Digest;
  config: Uint8Array;
  architecture: string;
  os: string;
  /** Lowest first. */
  layers: SavedLayer[];
  /** Tags to save it under. */
  names: ImageName[];
}

const types = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
} as const;

/** A part of the archive: bytes, or the archive of a layer. */
export type SavedPart = Buffer | { diffId: Digest };

/** The parts of the archive in order. */
export function savedParts(images: readonly SavedImage[]): SavedPart[] {
  const manifests = images.map((image) => ({ image, content: manifestOf(image) }));
  const small = new Map<Digest, Uint8Array>();
  const layers = new Map<Digest, SavedLayer>();
  for (const { image, content } of manifests) {
    small.set(digestOf(content), content);
    small.set(image.id, image.config);
    for (const layer of image.layers) layers.set(layer.diffId, layer);
  }
  const parts: SavedPart[] = [
    file("oci-layout", json({ imageLayoutVersion: "1.0.0" })),
    file("index.json", json(indexOf(manifests))),
    file("manifest.json", json(images.map(description))),
  ];
  const repositories = repositoriesOf(images);
  if (Object.keys(repositories).length > 0) parts.push(file("repositories", json(repositories)));
  parts.push(header("blobs/", "directory", 0), header("blobs/sha256/", "directory", 0));
  for (const [digest, content] of small) parts.push(file(blobName(digest), content));
  for (const { diffId, size } of layers.values()) {
    parts.push(header(blobName(diffId), "file", size), { diffId }, paddingFor(size));
  }
  parts.push(endOfArchive);
  return joined(parts);
}

function manifestOf({ id, config, layers }: SavedImage): Buffer {
  return json({
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, digest: id, size: config.length },
    layers: layers.map(layerDescriptor),
  });
}

function layerDescriptor({ diffId, size }: SavedLayer): Record<string, unknown> {
  return { mediaType: types.layer, digest: diffId, size };
}

/** One entry for every name, as readers look for names in the entries' annotations. */
function indexOf(manifests: readonly { image: SavedImage; content: Buffer }[]): Record<string, unknown> {
  return {
    schemaVersion: 2,
    mediaType: types.index,
    manifests: manifests.flatMap(({ image, content }) => {
      const descriptor = {
        mediaType: types.manifest,
        digest: digestOf(content),
        size: content.length,
        platform: { architecture: image.architecture, os: image.os },
      };
      if (image.names.length === 0) return [descriptor];
      return image.names.map(({ repository, tag = "latest" }) => ({
        ...descriptor,
        annotations: {
          "io.containerd.image.name": `${repository}:${tag}`,
          "org.opencontainers.image.ref.name": tag,
        },
      }));
    }),
  };
}

/** An item of manifest.json. */
function description({ id, layers, names }: SavedImage): Record<string, unknown> {
  return {
    Config: blobName(id),
    RepoTags: names.length === 0 ? null : names.map(nameText),
    Layers: layers.map(({ diffId }) => blobName(diffId)),
    LayerSources: Object.fromEntries(layers.map((layer) => [layer.diffId, layerDescriptor(layer)])),
  };
}

/** The oldest form, which names the topmost layer. */
function repositoriesOf(images: readonly SavedImage[]): Record<string, Record<string, string>> {
  const repositories: Record<string, Record<string, string>> = {};
  for (const { names, layers } of images) {
    const top = layers.at(-1);
    if (top === undefined) continue;
    for (const { repository, tag = "latest" } of names) {
      const name = nameText({ repository, tag, digest: undefined }).slice(0, -tag.length - 1);
      repositories[name] = { ...repositories[name], [tag]: hexOf(top.diffId) };
    }
  }
  return repositories;
}

function blobName(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function file(name: string, content: Uint8Array): Buffer {
  return Buffer.concat([header(name, "file", content.length), content, paddingFor(content.length)]);
}

function header(name: string, type: "file" | "directory", size: number): Buffer {
  const entry: TarEntry = {
    type,
    name,
    linkName: "",
    mode: type === "directory" ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    userName: "",
    groupName: "",
    size,
    modifiedAt: 0n,
    major: 0,
    minor: 0,
    xattrs: new Map(),
  };
  return encodeEntry(entry);
}

/** Neighbouring bytes as one. */
function joined(parts: readonly SavedPart[]): SavedPart[] {
  const result: SavedPart[] = [];
  let bytes: Buffer[] = [];
  for (const part of [...parts, undefined]) {
    if (part instanceof Buffer) {
      bytes.push(part);
      continue;
    }
    if (bytes.length > 0) result.push(Buffer.concat(bytes));
    bytes = [];
    if (part !== undefined) result.push(part);
  }
  return result;
}
