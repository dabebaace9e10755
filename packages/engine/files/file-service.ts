/**
 * The verbs on containers' files, by name or id. Work on a container that runs goes by its own mounts and waits for nobody;
 * of one that doesn't, the mounts are made for the purpose, in its queue.
 */
import type { Readable } from "node:stream";
import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { commitContainer } from "#engine/files/commit.ts";
import type { CommitOptions, FileService, OutgoingArchive } from "#engine/files/file-service-types.ts";
import { sendFromWorker } from "#engine/files/hand-over.ts";
import { isLive, withBareRoot, withRoot } from "#engine/files/root-request.ts";
import { containerUser } from "#engine/launch/container-user.ts";
import { BerthError, isBerthError } from "#errors/errors.ts";
import type { LayerChange } from "#storage/changes/change-types.ts";
import type { OpenPath } from "#storage/files/container-files.ts";
import type { PathStatus } from "#storage/files/root-types.ts";
import { holdLayers } from "#storage/hold-layers.ts";
import { firstBytes, receiveInWorker } from "#storage/worker/client-pipe.ts";

export class ContainerFileService implements FileService {
  readonly #context: EngineContext;

  constructor(context: EngineContext) {
    this.#context = context;
  }

  async changes(nameOrId: string): Promise<LayerChange[]> {
    const { id } = this.#context.containers.get(nameOrId);
    const { storage, files } = this.#context;
    await using _held = await holdLayers(storage, "comparison", id);
    return await files.changes(await storage.comparison(id));
  }

  commit(nameOrId: string, options: CommitOptions): Promise<string> {
    const container = this.#context.containers.get(nameOrId);
    return container.queue.run(() => commitContainer(this.#context, container, options));
  }

  async stat(nameOrId: string, path: string): Promise<PathStatus> {
    using found = await this.#open(nameOrId, path);
    return found.status;
  }

  async archive(nameOrId: string, path: string): Promise<OutgoingArchive & { status: PathStatus }> {
    const found = await this.#open(nameOrId, path);
    publishContainerEvent(this.#context, this.#context.containers.get(nameOrId), "archive-path");
    return { status: found.status, ...outgoing(found, "named") };
  }

  async extract(
    nameOrId: string,
    path: string,
    body: Readable,
    options: { copyOwner: boolean; keepKinds: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const context = this.#context;
    const container = context.containers.get(nameOrId);
    const owner = options.copyOwner ? await this.#ownerOf(container) : undefined;
    // Before its turn comes: a container that does not run waits for who has it.
    const begun = await firstBytes(body);
    try {
      await this.#whileItLasts(container, () =>
        withRoot(context, container, (root) =>
          receiveInWorker(begun, (source) =>
            context.files.extract(root, path, source, { keepKinds: options.keepKinds, owner }, signal),
          ),
        ),
      );
    } catch (error) {
      throw isBerthError(error, "not-found") ? noSuchFile(path, nameOrId) : error;
    }
    publishContainerEvent(context, container, "extract-to-dir");
  }

  async export(nameOrId: string): Promise<OutgoingArchive> {
    const context = this.#context;
    const container = context.containers.get(nameOrId);
    const found = await this.#whileItLasts(container, () =>
      withBareRoot(context, container, (root) => context.files.open(root, "/")),
    );
    if (found === undefined) throw noSuchFile("/", nameOrId);
    publishContainerEvent(context, container, "export");
    return outgoing(found, "inside");
  }

  async #open(nameOrId: string, path: string): Promise<OpenPath> {
    const container = this.#context.containers.get(nameOrId);
    const found = await this.#whileItLasts(container, () =>
      withRoot(this.#context, container, (root) => this.#context.files.open(root, path)),
    );
    if (found === undefined) throw noSuchFile(path, nameOrId);
    return found;
  }

  /** At once for a container that runs; in its queue for one that doesn't, so that it stays so. */
  #whileItLasts<T>(container: Container, work: () => Promise<T>): Promise<T> {
    if (isLive(container)) return work();
    return container.queue.run(async () => {
      // It may have been removed before our turn came.
      this.#context.containers.get(container.id);
      return await work();
    });
  }

  /** Whom the container's processes run as, by the user database in its own root; undefined for nobody in particular. */
  async #ownerOf({ record }: Container): Promise<{ uid: number; gid: number } | undefined> {
    const user = record.config.User ?? "";
    if (user === "") return undefined;
    const { uid, gid } = await containerUser(this.#context.storage, record, user, []);
    return { uid, gid };
  }
}

function outgoing(found: OpenPath, content: "named" | "inside"): OutgoingArchive {
  return {
    send: (output, signal) => sendFromWorker(output, (sink) => found.pack(content, sink, signal)),
    [Symbol.dispose]: () => found[Symbol.dispose](),
  };
}

function noSuchFile(path: string, container: string): BerthError {
  return new BerthError("not-found", `Could not find the file ${path} in container ${container}`, {
    operation: "find file",
    object: path,
  });
}
