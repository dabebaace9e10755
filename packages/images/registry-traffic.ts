/**
 * Pulls and pushes, and all that they share: connections, tokens, blobs on their way in, uploads and their limits.
 *
 * Owns `partial` and `blobs` below the images' directory. What images exist is decided by the stores it is given.
 */
import type { StorageDriver } from "#storage/driver-types.ts";
import { holdLayers } from "#storage/hold-layers.ts";
import { ContentStore } from "./content-store.ts";
import type { DiskFlush } from "./disk-flush.ts";
import type { ImageStore } from "./image-store.ts";
import type { ImageOptions, PullRequest, PushRequest } from "./image-types.ts";
import type { LayerStore } from "./layer-store.ts";
import { pullImage } from "./pull.ts";
import { pushImages } from "./push.ts";
import type { Uploads } from "./push-layer.ts";
import { Registries } from "./registries.ts";
import { TokenCache } from "./registry/authorizer.ts";
import { exponentialDelay, type RetryDelay } from "./registry/back-off.ts";
import type { BlobTransfer } from "./registry/blob-transfer.ts";
import type { ConnectOptions } from "./registry/connect.ts";
import type { LayerBytes } from "./registry/layer-bytes.ts";
import { closeConnections } from "./registry/transport.ts";
import { SharedWork } from "./shared-work.ts";
import { Slots } from "./slots.ts";

const sweepEveryMs = 10 * 60 * 1000;

export interface RegistryTrafficOptions {
  /** Where blobs are kept. */
  root: string;
  images: ImageStore;
  layers: LayerStore;
  storage: StorageDriver;
  transfer: BlobTransfer;
  flushed: DiskFlush;
  /** Asked for each time: mirrors, insecure registries and limits may change under a running daemon. */
  options: ImageOptions;
  retryDelay: RetryDelay | undefined;
  layerBytes: ((cacheId: string) => LayerBytes) | undefined;
}

export class RegistryTraffic {
  readonly registries: Registries;
  readonly content: ContentStore;
  readonly #given: RegistryTrafficOptions;
  readonly #tokens = new TokenCache();
  readonly #uploads: Uploads = new SharedWork();
  readonly #uploadSlots: Slots;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(given: RegistryTrafficOptions) {
    const { root, transfer, options, retryDelay } = given;
    this.#given = given;
    this.content = new ContentStore({
      root,
      transfer,
      maxConcurrentDownloads: options.maxConcurrentDownloads,
      maxDownloadAttempts: options.maxDownloadAttempts,
      delay: retryDelay ?? exponentialDelay,
    });
    this.#uploadSlots = new Slots(Math.max(1, options.maxConcurrentUploads));
    this.registries = new Registries(() => this.#connect);
  }

  /** The options changed. */
  reload(): void {
    const { options } = this.#given;
    this.content.resize(options.maxConcurrentDownloads);
    this.#uploadSlots.resize(Math.max(1, options.maxConcurrentUploads));
  }

  async start(): Promise<void> {
    await this.content.start();
    this.#sweeper = setInterval(() => {
      this.content.sweep().catch(() => {}); // a directory that cannot be read now can be next time
    }, sweepEveryMs);
    this.#sweeper.unref();
  }

  pull(request: PullRequest): ReturnType<typeof pullImage> {
    const { images, layers, flushed } = this.#given;
    return pullImage(request, {
      images,
      layers,
      content: this.content,
      connect: this.#connect,
      ...flushed.open(),
    });
  }

  push(request: PushRequest): ReturnType<typeof pushImages> {
    const { images, layers, storage, transfer, layerBytes } = this.#given;
    return pushImages(request, {
      images,
      layers,
      connect: this.#connect,
      transfer,
      uploads: this.#uploads,
      slots: this.#uploadSlots,
      holdLayer: (cacheId) => holdLayers(storage, "content", cacheId),
      layerBytes:
        layerBytes ??
        ((cacheId) => ({
          kind: "layer",
          directory: storage.diffPath(cacheId),
          layout: storage.layoutPath(cacheId),
        })),
    });
  }

  /** When no pull and no push runs any more. */
  close(): void {
    clearInterval(this.#sweeper);
    closeConnections();
  }

  get #connect(): ConnectOptions {
    const { options, retryDelay } = this.#given;
    return { ...options, delay: retryDelay ?? exponentialDelay, tokens: this.#tokens };
  }
}
