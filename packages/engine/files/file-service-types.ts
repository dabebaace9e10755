/**
 * Files of containers as the API sees them: what changed, archives out and in, images of it. No HTTP.
 */
import type { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import type { ContainerConfig } from "#api-types/container.ts";
import type { LayerChange } from "#storage/changes/change-types.ts";
import type { PathStatus } from "#storage/files/root-types.ts";

export interface FileService {
  /** docker diff. */
  changes(nameOrId: string): Promise<LayerChange[]>;
  /** docker commit; answers the image's id. */
  commit(nameOrId: string, options: CommitOptions): Promise<string>;
  /** "not-found" with Docker's "Could not find the file x in container y". */
  stat(nameOrId: string, path: string): Promise<PathStatus>;
  /** docker cp out of it. */
  archive(nameOrId: string, path: string): Promise<OutgoingArchive & { status: PathStatus }>;
  /** docker cp into it: `body` is a tar archive, compressed or not. */
  extract(
    nameOrId: string,
    path: string,
    body: Readable,
    options: { copyOwner: boolean; keepKinds: boolean },
    signal: AbortSignal,
  ): Promise<void>;
  /** docker export. */
  export(nameOrId: string): Promise<OutgoingArchive>;
}

export interface CommitOptions {
  repository: string;
  tag: string;
  author: string;
  comment: string;
  /** Freeze its processes meanwhile. */
  pause: boolean;
  /** Dockerfile instructions. */
  changes: string[];
  /** Instead of the container's own configuration, which fills what this leaves open. */
  config: ContainerConfig | undefined;
}

/** An archive that is ready to be sent, once. Disposed whether it was or not. */
export interface OutgoingArchive extends Disposable {
  /** Resolves when all was written; rejects with an AbortError when nobody wants it any more. */
  send(output: BodyOutput, signal: AbortSignal): Promise<void>;
}

/** The body of an answer whose head is out. */
export interface BodyOutput {
  /** For bytes that have to go through the event loop. */
  stream: Writable;
  /** The bare connection, for who writes to it without the event loop; undefined where it is encrypted. */
  connection: { socket: Socket; framing: "plain" | "http-chunks" } | undefined;
}
