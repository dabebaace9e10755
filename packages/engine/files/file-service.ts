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
    return this.#context.containers.inTurn(nameOrId, (container) =>
      commitContainer(this.#context, container, options),
    );
  }

  async stat(nameOrId: string, path: string): Promise<PathStatus> {
    using found = await this.#open(this.#context.containers.get(nameOrId), path, nameOrId);
    return found.status;
  }

  async archive(nameOrId: string, path: string): Promise<OutgoingArchive & { status: PathStatus }> {
    const container = this.#context.containers.get(nameOrId);
    const found = await this.#open(container, path, nameOrId);
    publishContainerEvent(this.#context, container, "archive-path");
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
    const found = await this.#open(container, "/", nameOrId, withBareRoot);
    publishContainerEvent(context, container, "export");
    return outgoing(found, "inside");
  }

  /** `nameOrId`: what the client calls it, which may be another's, or nobody's, when this resolves. */
  async #open(
    container: Container,
    path: string,
    nameOrId: string,
    within: typeof withRoot = withRoot,
  ): Promise<OpenPath> {
    // What was opened is nobody's where giving back what it took fails.
    using undo = new DisposableStack();
    const found = await this.#whileItLasts(container, () =>
      within(this.#context, container, async (root) => undo.use(await this.#context.files.open(root, path))),
    );
    if (found === undefined) throw noSuchFile(path, nameOrId);
    undo.move();
    return found;
  }

  /** At once for a container that runs; in its queue for one that doesn't, so that it stays so. */
  #whileItLasts<T>(container: Container, work: () => Promise<T>): Promise<T> {
    if (isLive(container)) return work();
    return this.#context.containers.inTurn(container.id, work);
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
