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
import { type Logger, silentLogger } from "#errors/logger-types.ts";
import type { Database } from "#state/database.ts";
import type { LayerUnpacker, StorageDriver } from "#storage/driver-types.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";
import { commitImage } from "./commit.ts";
import { imageHistory, inspectImage, listImages } from "./describe.ts";
import { DiskFlush } from "./disk-flush.ts";
import { newTag } from "./image-names.ts";
import { ImageStore, type StoredImage } from "./image-store.ts";
import type {
  CommitRequest,
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
import { Operations } from "./operations.ts";
import { pruneImages } from "./prune.ts";
import { familiarRepository, familiarText, parseReference, repositoryOf } from "./reference.ts";
import type { Registries } from "./registries.ts";
import type { RetryDelay } from "./registry/back-off.ts";
import { BlobTransfer } from "./registry/blob-transfer.ts";
import type { LayerBytes } from "./registry/layer-bytes.ts";
import { RegistryTraffic } from "./registry-traffic.ts";
import { collectWithdrawn, type RemoveOptions, removeImage } from "./remove.ts";
import { checkPlatform, resolveImage } from "./resolve-image.ts";
import { type OutgoingImages, type SaveRequest, saveImages } from "./save.ts";

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
/** How long one of them may stand still while others wait, ms. */
const archiveStall = 10_000;

export function createImageService(dependencies: ImageServiceDependencies): ImageService {
  return new Images(dependencies);
}

class Images implements ImageService {
  readonly #dependencies: ImageServiceDependencies;
  readonly #root: string;
  readonly #transfer = new BlobTransfer();
  readonly #flushed = new DiskFlush(() => this.#transfer.sync(this.#dependencies.options.dataRoot));
  readonly #layers: LayerStore;
  readonly #images: ImageStore;
  /** Write archives; a slow client holds one up, and nobody else. */
  readonly #archivers = new StorageWorkers(archivesAtOnce, archiveStall);
  readonly #traffic: RegistryTraffic;
  readonly #operations = new Operations();
  #pruning = false;

  constructor(dependencies: ImageServiceDependencies) {
    this.#dependencies = dependencies;
    this.#root = join(dependencies.options.dataRoot, "image");
    this.#layers = new LayerStore(dependencies);
    this.#images = new ImageStore(dependencies.database, this.#layers);
    this.#traffic = new RegistryTraffic({
      root: this.#root,
      images: this.#images,
      layers: this.#layers,
      storage: dependencies.storage,
      transfer: this.#transfer,
      flushed: this.#flushed,
      options: dependencies.options,
      retryDelay: dependencies.retryDelay,
      layerBytes: dependencies.layerBytes,
    });
  }

  get registries(): Registries {
    return this.#traffic.registries;
  }

  reload(): void {
    this.#traffic.reload();
  }

  async start(): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    await rm(this.#scratch, { recursive: true, force: true });
    for (const damaged of this.#images.checkConfigs()) {
      this.#dependencies.log?.error(
        "an image's configuration is damaged; pull or load it again where it was removed",
        {
          image: damaged.id,
          kept: damaged.kept,
          replaced: damaged.replaced,
        },
      );
    }
    await this.#layers.start();
    await this.#traffic.start();
  }

  async pull(request: PullRequest): Promise<void> {
    const signal = this.#operations.signal(request.signal);
    const { reference, id } = await this.#operations.track(this.#traffic.pull({ ...request, signal }));
    this.#emit("pull", familiarText(reference), id, { name: familiarRepository(repositoryOf(reference)) });
  }

  async push(request: PushRequest): Promise<void> {
    const signal = this.#operations.signal(request.signal);
    const { reference, id } = await this.#operations.track(this.#traffic.push({ ...request, signal }));
    this.#emit("push", familiarText(reference), id, { name: familiarRepository(repositoryOf(reference)) });
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
        await this.#operations.track(outgoing.write(sink, this.#operations.signal(signal)));
        for (const id of outgoing.ids) this.#emit("save", id, id);
      },
    };
  }

  async load(archive: Readable, options: LoadOptions): Promise<void> {
    tolerateEarlyError(archive);
    const signal = this.#operations.signal(options.signal);
    const ids = await this.#operations.track(
      loadImages(archive, { ...options, signal }, this.#archiveDependencies()),
    );
    for (const id of ids) this.#emit("load", id, id);
  }

  async importArchive(archive: Readable, options: ImportOptions): Promise<string> {
    tolerateEarlyError(archive);
    const signal = this.#operations.signal(options.signal);
    const id = await this.#operations.track(
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
    const id = await this.#operations.track(commitImage(request, names, dependencies));
    if (target !== undefined) this.#emit("tag", id, id, { name: target.familiar });
    return { id, reference: target?.familiar ?? "" };
  }

  resolve(reference: string): StoredImage {
    return resolveImage(reference, this.#images);
  }

  async list(options: ImageListFilters): Promise<ImageSummary[]> {
    return listImages(options, this.#images, this.#layers);
  }

  async inspect(reference: string, platform = ""): Promise<ImageInspect> {
    const image = this.resolve(reference);
    checkPlatform(reference, image, platform, "inspect image");
    return inspectImage(image, this.#images, this.#dependencies.storage);
  }

  async history(reference: string, platform = ""): Promise<ImageHistoryItem[]> {
    const image = this.resolve(reference);
    checkPlatform(reference, image, platform, "image history");
    return imageHistory(image, this.#images, this.#layers);
  }

  tag(reference: string, repository: string, tag: string): void {
    const image = this.resolve(reference);
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
      const report = await this.#operations.track(
        pruneImages(filters, inUse, {
          images: this.#images,
          layers: this.#layers,
          onEvent: (action, id) => this.#emit(action, id, id),
        }),
      );
      report.SpaceReclaimed += await this.#traffic.content.dropPartials();
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
    await this.#operations.stop();
    await this.#transfer.close();
    await this.#archivers.close();
    this.#traffic.close();
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
      log: this.#dependencies.log ?? silentLogger,
    };
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
