/**
 * Manifests: Docker's version 2 schema 2 and manifest lists, OCI image manifests and indexes.
 *
 * Pure. Reads untrusted JSON into checked values; picks the entry of an index that fits a platform.
 */
import { parseJson } from "#errors/bounded-json.ts";
import { BerthError } from "#errors/errors.ts";
import { type Digest, isDigest } from "../digest.ts";
import { type Platform, platformRank } from "../platform.ts";

/** distribution-spec: registries should refuse manifests beyond 4 MiB, and so do we. */
export const manifestLimit = 4 << 20;
/** Docker refuses deeper stacks: overlay could not mount them. */
const layerLimit = 127;

export const manifestTypes = [
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.oci.image.index.v1+json",
] as const;

export interface Descriptor {
  mediaType: string;
  digest: Digest;
  /** Bytes. */
  size: number;
}

export interface IndexEntry extends Descriptor {
  platform: Partial<Platform> | undefined;
  annotations: Record<string, string>;
}

export interface ImageManifest {
  kind: "image";
  config: Descriptor;
  /** Lowest first. */
  layers: Descriptor[];
}

export interface ImageIndex {
  kind: "index";
  manifests: IndexEntry[];
}

export type ManifestFormat = "docker" | "oci";

const formats = {
  docker: {
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    layer: {
      gzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
      zstd: "",
      none: "application/vnd.docker.image.rootfs.diff.tar",
    },
  },
  oci: {
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    layer: {
      gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
      zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
      none: "application/vnd.oci.image.layer.v1.tar",
    },
  },
} as const;

/** OCI only where the media type says so; Docker's otherwise, which every client reads. */
export function formatOf(mediaType: string): ManifestFormat {
  return mediaType.startsWith("application/vnd.oci.") ? "oci" : "docker";
}

/** The media type of a layer in a manifest of `format`, from its media type elsewhere; undefined where there is none. */
export function layerType(mediaType: string, format: ManifestFormat): string | undefined {
  const compression = /[.+](gzip|zstd)$/.exec(mediaType)?.[1] ?? (mediaType === "" ? "gzip" : "none");
  return formats[format].layer[compression as "gzip" | "zstd" | "none"] || undefined;
}

/** A manifest's bytes, laid out as dockerd does: the same layers then have the same manifest digest, whoever pushed them. */
export function writeManifest(
  format: ManifestFormat,
  config: Omit<Descriptor, "mediaType">,
  layers: readonly Descriptor[],
): { mediaType: string; content: Buffer } {
  const types = formats[format];
  const document = {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, size: config.size, digest: config.digest },
    layers: layers.map(({ mediaType, size, digest }) => ({ mediaType, size, digest })),
  };
  return { mediaType: types.manifest, content: Buffer.from(JSON.stringify(document, null, 3)) };
}

type Json = Record<string, unknown>;

/** Reads a manifest; `mediaType` is what the registry said it is, which the document's own word overrides. Throws "invalid". */
export function parseManifest(
  bytes: Uint8Array,
  mediaType: string,
  name: string,
): ImageManifest | ImageIndex {
  let parsed: unknown;
  try {
    parsed = parseJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw broken(name, `not JSON (${(cause as Error).message})`);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
    throw broken(name, "not an object");
  const document = parsed as Json;
  const type = typeof document.mediaType === "string" ? document.mediaType : mediaType.split(";")[0]?.trim();
  if (document.schemaVersion === 1) {
    throw broken(
      name,
      "image format version 2, schema 1 is not supported; push the image again with a current client",
    );
  }
  if (document.schemaVersion !== 2)
    throw broken(name, `schemaVersion ${JSON.stringify(document.schemaVersion)}`);
  const isIndex = type?.includes("manifest.list") === true || type?.includes("image.index") === true;
  if (isIndex || (document.manifests !== undefined && document.layers === undefined)) {
    return {
      kind: "index",
      manifests: list(document.manifests, name, "manifests").map((one) => entry(one, name)),
    };
  }
  const config = descriptor(document.config, name, "config");
  const layers = list(document.layers, name, "layers").map((one) => descriptor(one, name, "layer"));
  if (layers.length > layerLimit) throw broken(name, `max depth exceeded (${layers.length} layers)`);
  return { kind: "image", config, layers };
}

/** The entry that fits `platform` best. Throws not-found with Docker's text. */
export function chooseManifest(index: ImageIndex, platform: Platform, name: string): IndexEntry {
  let best: { entry: IndexEntry; rank: number } | undefined;
  for (const candidate of index.manifests) {
    const rank = platformRank(candidate.platform, platform);
    if (rank !== undefined && (best === undefined || rank < best.rank)) best = { entry: candidate, rank };
  }
  if (best !== undefined) return best.entry;
  const wanted = [platform.os, platform.architecture, platform.variant].filter(Boolean).join("/");
  const offered = index.manifests
    .flatMap(({ platform: p }) =>
      p?.os && p.os !== "unknown" ? [[p.os, p.architecture, p.variant].filter(Boolean).join("/")] : [],
    )
    .join(", ");
  throw new BerthError("not-found", `no matching manifest for ${wanted} in the manifest list entries`, {
    operation: "pull image",
    object: name,
    ...(offered === "" ? {} : { hint: `the image exists for: ${offered}` }),
  });
}

function entry(value: unknown, name: string): IndexEntry {
  const platform = (value as Json | null)?.platform as Json | undefined;
  const annotations = (value as Json | null)?.annotations;
  return {
    ...descriptor(value, name, "manifest"),
    platform:
      platform === undefined || platform === null
        ? undefined
        : {
            os: word(platform.os),
            architecture: word(platform.architecture),
            variant: word(platform.variant),
          },
    annotations: strings(annotations),
  };
}

function descriptor(value: unknown, name: string, what: string): Descriptor {
  const { mediaType, digest, size } = (value ?? {}) as Json;
  if (!isDigest(digest)) throw broken(name, `${what} without a valid digest`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
    throw broken(name, `${what} ${digest} without a valid size`);
  }
  return { mediaType: word(mediaType), digest, size };
}

function list(value: unknown, name: string, what: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw broken(name, `no ${what}`);
}

function word(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function strings(value: unknown): Record<string, string> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(Object.entries(value).filter(([, text]) => typeof text === "string"));
}

function broken(name: string, why: string): BerthError {
  return new BerthError("invalid", `invalid manifest of ${name}: ${why.slice(0, 300)}`, {
    operation: "read manifest",
    object: name,
  });
}
