/**
 * The images of one daemon: composition of registry client, stores, archives and descriptions behind `ImageService`.
 *
 * Owns `<data root>/image` and the image layers of the storage driver. Never touches containers: who uses an image is
 * told to it by those who ask it to remove one.
 */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { ImageDeleteItem, ImageHistoryItem, ImageInspect, ImageSummary } from "#api-types/image.ts";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import type { Database } from "#state/database.ts";
import type { LayerUnpacker, StorageDriver } from "#storage/driver-types.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";
import { commitImage } from "./commit.ts";
import { ContentStore } from "./content-store.ts";
import { imageHistory, inspectImage, listImages } from "./describe.ts";
import { DiskFlush } from "./disk-flush.ts";
import { type ImageName, ImageStore, type StoredImage } from "./image-store.ts";
import type {
  CommitRequest,
  Image,
  ImageEventListener,
  ImageListFilters,
  ImageOptions,
  ImageService,
  ImageUsers,
  PullRequest,
  PushRequest,
} from "./image-types.ts";
import { type ImportOptions, importImage } from "./import.ts";
import { LayerStore } from "./layer-store.ts";
import { type LoadDependencies, type LoadOptions, loadImages } from "./load.ts";
import { checkPlatform, resolveImage } from "./names.ts";
import { pruneImages } from "./prune.ts";
import { pullImage } from "./pull.ts";
import { pushImages } from "./push.ts";
import type { Uploads } from "./push-layer.ts";
import { familiarRepository, familiarText, parseReference, parseTag, repositoryOf } from "./reference.ts";
import { Registries } from "./registries.ts";
import { TokenCache } from "./registry/authorizer.ts";
import { exponentialDelay, type RetryDelay } from "./registry/back-off.ts";
import { BlobTransfer } from "./registry/blob-transfer.ts";
import type { ConnectOptions } from "./registry/connect.ts";
import type { LayerBytes } from "./registry/layer-bytes.ts";
import { closeConnections } from "./registry/transport.ts";
import { collectWithdrawn, type RemoveOptions, removeImage } from "./remove.ts";
import { type OutgoingImages, type SaveRequest, saveImages } from "./save.ts";
import { SharedWork } from "./shared-work.ts";
import { Slots } from "./slots.ts";

export { imageMigrations } from "./schema.ts";

export interface ImageServiceDependencies {
  database: Database;
  storage: StorageDriver;
  unpacker: LayerUnpacker;
  options: ImageOptions;
  onEvent: ImageEventListener;
  log?: Logger;
  /** Tests shorten the pauses between attempts. */
  retryDelay?: RetryDelay;
  /** In place of the driver's directories: where a layer's archive is had from, by its cache id. */
  layerBytes?: (cacheId: string) => LayerBytes;
}

/** Archives that can be on their way out. */
const archivesAtOnce = 16;
const sweepEveryMs = 10 * 60 * 1000;

export function createImageService(dependencies: ImageServiceDependencies): ImageService {
  return new Images(dependencies);
}

class Images implements ImageService {
  readonly #dependencies: ImageServiceDependencies;
  readonly #root: string;
  readonly #transfer = new BlobTransfer();
  readonly #flushed = new DiskFlush(() => this.#transfer.sync(this.#dependencies.options.dataRoot));
  readonly #tokens = new TokenCache();
  readonly #layers: LayerStore;
  readonly #images: ImageStore;
  readonly #content: ContentStore;
  readonly #uploads: Uploads = new SharedWork();
  readonly #uploadSlots: Slots;
  /** Write archives; a slow client holds one up, and nobody else. */
  readonly #archivers = new StorageWorkers(archivesAtOnce);
  readonly registries: Registries;
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  #pruning = false;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(dependencies: ImageServiceDependencies) {
    this.#dependencies = dependencies;
    this.#root = join(dependencies.options.dataRoot, "image");
    this.#layers = new LayerStore(dependencies);
    this.#images = new ImageStore(dependencies.database, this.#layers);
    this.#content = new ContentStore({
      root: this.#root,
      transfer: this.#transfer,
      maxConcurrentDownloads: dependencies.options.maxConcurrentDownloads,
      maxDownloadAttempts: dependencies.options.maxDownloadAttempts,
      delay: dependencies.retryDelay ?? exponentialDelay,
    });
    this.#uploadSlots = new Slots(Math.max(1, dependencies.options.maxConcurrentUploads));
    this.registries = new Registries(() => this.#connect);
  }

  reload(): void {
    const { options } = this.#dependencies;
    this.#content.resize(options.maxConcurrentDownloads);
    this.#uploadSlots.resize(Math.max(1, options.maxConcurrentUploads));
  }

  async start(): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    await rm(this.#scratch, { recursive: true, force: true });
    await this.#layers.start();
    await this.#content.start();
    this.#sweeper = setInterval(() => {
      this.#content.sweep().catch(() => {}); // a directory that cannot be read now can be next time
    }, sweepEveryMs);
    this.#sweeper.unref();
  }

  async pull(request: PullRequest): Promise<void> {
    const pulled = await this.#track(
      pullImage(
        { ...request, signal: this.#signal(request.signal) },
        {
          images: this.#images,
          layers: this.#layers,
          content: this.#content,
          connect: this.#connect,
          ...this.#flushed.open(),
        },
      ),
    );
    const name = familiarText(pulled.reference);
    this.#emit("pull", name, pulled.id, { name: familiarRepository(repositoryOf(pulled.reference)) });
  }

  async push(request: PushRequest): Promise<void> {
    const { layerBytes, storage } = this.#dependencies;
    const pushed = await this.#track(
      pushImages(
        { ...request, signal: this.#signal(request.signal) },
        {
          images: this.#images,
          layers: this.#layers,
          connect: this.#connect,
          transfer: this.#transfer,
          uploads: this.#uploads,
          slots: this.#uploadSlots,
          layerBytes:
            layerBytes ??
            ((cacheId) => ({
              kind: "layer",
              directory: storage.diffPath(cacheId),
              layout: storage.layoutPath(cacheId),
            })),
        },
      ),
    );
    const name = familiarRepository(repositoryOf(pushed.reference));
    this.#emit("push", familiarText(pushed.reference), pushed.id, { name });
  }

  async save(request: SaveRequest): Promise<OutgoingImages> {
    const { storage } = this.#dependencies;
    const outgoing = await saveImages(request, {
      images: this.#images,
      layers: this.#layers,
      storage,
      workers: this.#archivers,
    });
    return {
      ...outgoing,
      write: async (sink, signal) => {
        await this.#track(outgoing.write(sink, this.#signal(signal)));
        for (const id of outgoing.ids) this.#emit("save", id, id);
      },
    };
  }

  async load(archive: Readable, options: LoadOptions): Promise<void> {
    tolerateEarlyError(archive);
    const signal = this.#signal(options.signal);
    const ids = await this.#track(loadImages(archive, { ...options, signal }, this.#archiveDependencies()));
    for (const id of ids) this.#emit("load", id, id);
  }

  async importArchive(archive: Readable, options: ImportOptions): Promise<string> {
    tolerateEarlyError(archive);
    const signal = this.#signal(options.signal);
    const id = await this.#track(
      importImage(
        archive,
        { ...options, signal },
        { ...this.#archiveDependencies(), proxy: this.#dependencies.options.proxy },
      ),
    );
    if (options.reference)
      this.#emit("tag", id, id, { name: familiarText(parseReference(options.reference)) });
    this.#emit("import", id, id);
    return id;
  }

  async commit(request: CommitRequest): Promise<{ id: string; reference: string }> {
    // Everything that can be wrong with the name is told before the work is done.
    const target = request.repository === "" ? undefined : newTag(request.repository, request.tag);
    const names = target === undefined ? [] : [target.name];
    const dependencies = { images: this.#images, layers: this.#layers };
    const id = await this.#track(commitImage(request, names, dependencies));
    if (target !== undefined) this.#emit("tag", id, id, { name: target.familiar });
    return { id, reference: target?.familiar ?? "" };
  }

  resolve(reference: string): Image {
    return resolveImage(reference, this.#images);
  }

  async list(options: ImageListFilters): Promise<ImageSummary[]> {
    return listImages(options, this.#images, this.#layers);
  }

  async inspect(reference: string, platform = ""): Promise<ImageInspect> {
    const image = this.#find(reference);
    checkPlatform(reference, image, platform, "inspect image");
    return inspectImage(image, this.#images, this.#dependencies.storage);
  }

  async history(reference: string, platform = ""): Promise<ImageHistoryItem[]> {
    const image = this.#find(reference);
    checkPlatform(reference, image, platform, "image history");
    return imageHistory(image, this.#images, this.#layers);
  }

  tag(reference: string, repository: string, tag: string): void {
    const image = this.#find(reference);
    const { name, familiar } = newTag(repository, tag);
    this.#images.setName(name, image.id, { tagged: true });
    this.#emit("tag", image.id, image.id, { name: familiar });
  }

  async remove(reference: string, options: RemoveOptions): Promise<ImageDeleteItem[]> {
    return removeImage(reference, options, {
      images: this.#images,
      layers: this.#layers,
      onEvent: (action, id) => this.#emit(action, id, id),
    });
  }

  async prune(
    filters: Record<string, string[]>,
    inUse: ImageUsers,
  ): Promise<{ ImagesDeleted: ImageDeleteItem[] | null; SpaceReclaimed: number }> {
    if (this.#pruning) {
      throw new BerthError("conflict", "a prune operation is already running", { operation: "prune images" });
    }
    this.#pruning = true;
    try {
      const report = await this.#track(
        pruneImages(filters, inUse, {
          images: this.#images,
          layers: this.#layers,
          onEvent: (action, id) => this.#emit(action, id, id),
        }),
      );
      report.SpaceReclaimed += await this.#content.dropPartials();
      report.SpaceReclaimed += await this.#layers.collectGarbage();
      this.#dependencies.onEvent("prune", "", { reclaimed: String(report.SpaceReclaimed) });
      return report;
    } finally {
      this.#pruning = false;
    }
  }

  async collect(inUse: RemoveOptions["inUse"]): Promise<void> {
    await collectWithdrawn(inUse, { images: this.#images, layers: this.#layers });
  }

  cacheIds(): Set<string> {
    return this.#layers.cacheIds();
  }

  layersSize(): number {
    return this.#layers
      .sizes()
      .values()
      .reduce((sum, size) => sum + size, 0);
  }

  sizeOf(imageId: string): number {
    return this.#images.sizeOf(imageId);
  }

  count(): number {
    return this.#images.count();
  }

  async stop(): Promise<void> {
    clearInterval(this.#sweeper);
    this.#stop.abort(
      new BerthError("unavailable", "the daemon is shutting down", { operation: "image operation" }),
    );
    await Promise.allSettled(this.#running);
    await this.#transfer.close();
    await this.#archivers.close();
    closeConnections();
  }

  /** Asked for each time: mirrors and insecure registries may change under a running daemon. */
  get #connect(): ConnectOptions {
    const { options, retryDelay } = this.#dependencies;
    return { ...options, delay: retryDelay ?? exponentialDelay, tokens: this.#tokens };
  }

  get #scratch(): string {
    return join(this.#root, "tmp");
  }

  #archiveDependencies(): LoadDependencies {
    return {
      images: this.#images,
      layers: this.#layers,
      scratch: this.#scratch,
      ...this.#flushed.open(),
      storage: this.#dependencies.storage,
      unpacker: this.#dependencies.unpacker,
      workers: this.#archivers,
    };
  }

  #find(reference: string): StoredImage {
    return resolveImage(reference, this.#images);
  }

  #signal(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  /** Docker's events carry the image's labels and a name. */
  #emit(
    action: Parameters<ImageEventListener>[0],
    actor: string,
    id: string,
    attributes: Record<string, string> = { name: id },
  ): void {
    const labels = this.#images.get(id)?.config.Labels ?? {};
    this.#dependencies.onEvent(action, actor, { ...labels, ...attributes });
  }
}

/** A client may vanish before its upload is read; the reader will see that, but until then the event needs an ear. */
function tolerateEarlyError(archive: Readable): void {
  archive.on("error", () => {});
}

/** A name to give: without a tag it is "latest", with a digest it cannot be given. */
function newTag(repository: string, tag: string): { name: ImageName; familiar: string } {
  const target = parseReference(repository);
  if (target.digest !== undefined) {
    throw new BerthError("invalid", "refusing to create a tag with a digest reference", {
      operation: "tag image",
      object: repository,
    });
  }
  const given = tag === "" ? target.tag : parseTag(tag);
  return {
    name: { repository: repositoryOf(target), tag: given ?? "latest", digest: undefined },
    familiar: familiarText({ ...target, tag: given }),
  };
}
