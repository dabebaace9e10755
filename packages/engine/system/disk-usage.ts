/**
 * `docker system df`: what images, containers and volumes take on the disk.
 *
 * Layers are known by their rows; containers and volumes are measured, in workers. Whoever asks while somebody's answer is
 * being measured gets that answer: measuring twice would only be slower.
 */
import type { ContainerSummary } from "#api-types/container.ts";
import type { ImageSummary } from "#api-types/image.ts";
import type { Volume } from "#api-types/system.ts";
import { containerSizes } from "#engine/containers/container-sizes.ts";
import { summarize } from "#engine/containers/container-view.ts";
import { imageUserCounts } from "#engine/containers/remove.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { BerthError } from "#errors/errors.ts";

/** What was not asked for is null. */
export interface DiskUsage {
  LayersSize: number;
  Images: ImageSummary[] | null;
  Containers: ContainerSummary[] | null;
  Volumes: Volume[] | null;
  BuildCache: unknown[] | null;
}

export class DiskUsageMeter {
  readonly #context: EngineContext;
  readonly #images: () => Promise<ImageSummary[]>;
  readonly #containers: () => Promise<ContainerSummary[]>;
  readonly #volumes: () => Promise<Volume[]>;

  constructor(context: EngineContext) {
    this.#context = context;
    this.#images = shared(() =>
      context.images.list({
        all: false,
        filters: {},
        sharedSize: true,
        containers: imageUserCounts(context),
      }),
    );
    this.#containers = shared(() => measureContainers(context));
    this.#volumes = shared(() => measureVolumes(context));
  }

  /** `types` are of image, container, volume and build-cache; none means all. */
  async read(types: readonly string[]): Promise<DiskUsage> {
    const wanted = (type: string) => types.length === 0 || types.includes(type);
    const [Images, Containers, Volumes] = await Promise.all([
      wanted("image") ? this.#images() : null,
      wanted("container") ? this.#containers() : null,
      wanted("volume") ? this.#volumes() : null,
    ]);
    return {
      LayersSize: wanted("image") ? this.#context.images.layersSize() : 0,
      Images,
      Containers,
      Volumes,
      BuildCache: wanted("build-cache") ? [] : null,
    };
  }
}

async function measureContainers(context: EngineContext): Promise<ContainerSummary[]> {
  const containers = context.containers.all().reverse();
  return await Promise.all(
    containers.map(async (container) => {
      const sizes = await containerSizes(context, container);
      return { ...summarize(context, container), ...sizes };
    }),
  );
}

/** Those that are a directory of ours; what is mounted from elsewhere takes no space here. */
async function measureVolumes(context: EngineContext): Promise<Volume[]> {
  const { Volumes } = await context.volumes.list({ driver: ["local"] });
  const own = Volumes.filter(({ Options }) => Options === null);
  const measured = await Promise.all(
    own.map(async (volume) => {
      try {
        return [{ ...volume, UsageData: await context.volumes.usage(volume.Name) }];
      } catch (error) {
        if (error instanceof BerthError && error.code === "not-found") return []; // removed meanwhile
        throw error;
      }
    }),
  );
  return measured.flat();
}

/** Joins the call under way, if there is one. */
function shared<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= work().finally(() => {
      running = undefined;
    });
    return running;
  };
}
