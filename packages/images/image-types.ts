/**
 * What the engine and the API need of images.
 *
 * An *image* is identified by the digest of its configuration. Its *layers* are kept once each, by chain id (OCI
 * image-spec: chain id of a layer = digest over its own and all lower diff ids), in layer directories of the storage driver.
 * Rows precede what they own; an image row is written, durably, only when every layer and its configuration are complete.
 */
import type { Readable } from "node:stream";
import type {
  ImageContainerConfig,
  ImageDeleteItem,
  ImageHistoryItem,
  ImageInspect,
  ImageSummary,
  ProgressMessage,
  RegistryAuth,
} from "#api-types/image.ts";
import type { FillLayer } from "./layer-directories.ts";
import type { Registries } from "./registries.ts";
import type { ProxySettings } from "./registry/proxy.ts";
import type { OutgoingImages, SaveRequest } from "./save.ts";

/** A usable image, as the engine sees it. */
export interface Image {
  /** "sha256:…" */
  id: string;
  config: ImageContainerConfig;
  architecture: string;
  os: string;
  created: string;
  /** Cache id (storage driver) of the topmost layer; undefined for an image without layers. */
  topLayer: string | undefined;
  /** Bytes of all layers, unpacked. */
  size: number;
}

export type ReportProgress = (message: ProgressMessage) => void;

export interface PullRequest {
  /** As the client gave it: "busybox", "localhost:5000/busybox". */
  name: string;
  /** Tag or digest; empty means latest, or every tag of the repository. */
  tag: string;
  /** A name with neither tag nor digest means every tag, as in Docker's API. */
  allTags?: boolean;
  /** "linux/amd64"; empty means this machine's. */
  platform: string;
  auth?: RegistryAuth;
  report: ReportProgress;
  signal?: AbortSignal;
}

export interface PushRequest {
  /** As the client gave it: "localhost:5000/busybox". */
  name: string;
  /** Empty: every tag of the repository. */
  tag: string;
  /** "linux/amd64": the image must be for it; empty means any. */
  platform: string;
  auth?: RegistryAuth;
  report: ReportProgress;
  signal?: AbortSignal;
}

export interface CommitRequest {
  /** Id of the image the container was made from. */
  base: string;
  container: { id: string; config: ImageContainerConfig };
  /** What the new image says. */
  config: ImageContainerConfig;
  author: string;
  comment: string;
  /** The engine's own version. */
  version: string;
  /** "" for no name. */
  repository: string;
  tag: string;
  /** Puts what the container changed into the new layer. */
  fill: FillLayer;
}

export interface ImageListFilters {
  all: boolean;
  /** Docker's filters: reference, label, label!, dangling, before, since, until. */
  filters: Record<string, string[]>;
  /** Tell what each image shares with others; -1 is shown otherwise. */
  sharedSize?: boolean;
  /** How many containers were made from an image; -1 is shown where nobody counts. */
  containers?: (imageId: string) => number;
}

/** Which containers use an image id: short ids, and whether they run. Asked at the last moment, so always up to date. */
export type ImageUsers = (imageId: string) => { id: string; running: boolean }[];

export interface ImageService {
  /** The options have changed: takes their numbers over. (Lists among them are the caller's own, and read each time.) */
  reload(): void;
  start(): Promise<void>;
  /** Pulls; progress as Docker prints it. Throws BerthError: not-found with Docker's "pull access denied for x…" / "manifest for x not found: manifest unknown…". */
  pull(request: PullRequest): Promise<void>;
  /** Pushes; progress as Docker prints it, and at the end of each tag its digest as `aux`. Throws BerthError. */
  push(request: PushRequest): Promise<void>;
  /** What is asked of registries without an image here: log in, search, look at an image. */
  readonly registries: Registries;
  /**
   * docker save: all that is needed is found and held until the answer is disposed. Throws not-found with Docker's texts,
   * and "conflict" with a hint for layers that an earlier version stored.
   */
  save(request: SaveRequest): Promise<OutgoingImages>;
  /** docker load: docker-archive or OCI layout, plain or compressed. Reports "Loaded image: x". */
  load(
    archive: Readable,
    options: { quiet: boolean; platform?: string; report: ReportProgress; signal?: AbortSignal },
  ): Promise<void>;
  /** docker import: a root file system archive as a one-layer image; answers its id. */
  importArchive(
    archive: Readable,
    options: {
      reference: string | undefined;
      message: string;
      changes: string[];
      platform: string;
      /** Where to fetch the archive instead, over HTTP or HTTPS. */
      address?: string | undefined;
      report: ReportProgress;
      signal?: AbortSignal;
    },
  ): Promise<string>;
  /** docker commit; answers its id and its name as users write it ("" for none). Throws "not-found" if the base is gone, "invalid" for a name that cannot be. */
  commit(request: CommitRequest): Promise<{ id: string; reference: string }>;
  /** By name, name@digest, id or unique id prefix. Throws not-found "No such image: x". */
  resolve(reference: string): Image;
  list(options: ImageListFilters): Promise<ImageSummary[]>;
  /** `platform`: the image must be for it ("linux/arm64"); empty means any. */
  inspect(reference: string, platform?: string): Promise<ImageInspect>;
  history(reference: string, platform?: string): Promise<ImageHistoryItem[]>;
  tag(reference: string, repository: string, tag: string): void;
  /** docker rmi. `inUse` tells which containers use an image, for Docker's conflict texts. */
  remove(
    reference: string,
    options: { force: boolean; noPrune: boolean; platform?: string; inUse: ImageUsers },
  ): Promise<ImageDeleteItem[]>;
  /**
   * docker image prune: images without a name (dangling=false: all) that no container uses, with what of interrupted work
   * is still on the disk. Filters: dangling, label, label!, until. "conflict" while another prune runs.
   */
  prune(
    filters: Record<string, string[]>,
    inUse: ImageUsers,
  ): Promise<{ ImagesDeleted: ImageDeleteItem[] | null; SpaceReclaimed: number }>;
  /**
   * Removes images that were forcibly removed while stopped containers stood on them and that nobody uses any more. To
   * be called after a container was removed, and once at start-up.
   */
  collect(inUse: ImageUsers): Promise<void>;
  /** Cache ids of all image layers: the images' part of what `StorageDriver.reconcile` must keep. */
  cacheIds(): Set<string>;
  /** Bytes of all layers, each counted once (`docker system df`). */
  layersSize(): number;
  /** Bytes of an image's layers, also of one that was removed by force and still has containers; 0 if it is unknown. */
  sizeOf(imageId: string): number;
  /** How many images there are. */
  count(): number;
  stop(): Promise<void>;
}

export interface ImageOptions {
  dataRoot: string;
  /** "host:port" or CIDR for which HTTP and unverified TLS are allowed; loopback always is. */
  insecureRegistries: string[];
  registryMirrors: string[];
  maxConcurrentDownloads: number;
  maxDownloadAttempts: number;
  maxConcurrentUploads: number;
  /** Of daemon.json; the environment's where it is missing. */
  proxy?: ProxySettings;
  /** Where certificates of registries are; by default /etc/berth/certs.d, then /etc/docker/certs.d. */
  certificateDirectories?: string[];
  /** Milliseconds without a byte before a connection counts as dead. */
  patience?: number;
}

/** Emitted for docker events. */
export type ImageEventListener = (
  action: "pull" | "push" | "load" | "save" | "import" | "tag" | "untag" | "delete" | "prune",
  id: string,
  attributes: Record<string, string>,
) => void;
