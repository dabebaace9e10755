/**
 * The engine as the API server sees it: nouns and verbs, no HTTP. The API server maps paths, queries and errors; it
 * holds no state of its own.
 */
import type { Duplex, Readable } from "node:stream";
import type {
  ContainerCreateRequest,
  ContainerCreateResponse,
  ContainerInspect,
  ExecCreateRequest,
  ExecInspect,
  HostConfig,
} from "#api-types/container.ts";
import type {
  NetworkConnectRequest,
  NetworkCreateRequest,
  NetworkDisconnectRequest,
  NetworkResource,
} from "#api-types/network.ts";
import type { EventMessage } from "#api-types/system.ts";
import type { CheckpointRequest } from "#engine/containers/checkpoints.ts";
import type { StageTime } from "#engine/containers/stage-times.ts";
import type { FileService } from "#engine/files/file-service-types.ts";
import type { ImageService, ImageUsers } from "#images/image-types.ts";
import type { LogReadOptions } from "#logs/log-types.ts";
import type { VolumeService } from "#volumes/volume-types.ts";

/** Docker's filters parameter, decoded: name → values. Both wire forms ({"a":["b"]} and {"a":{"b":true}}) give this. */
export type Filters = Record<string, string[]>;

export interface Engine {
  readonly containers: ContainerService;
  readonly execs: ExecService;
  readonly files: FileService;
  readonly images: ImageService;
  readonly networks: NetworkService;
  readonly volumes: VolumeService;
  readonly events: EventService;
  readonly system: SystemService;
}

export type WaitCondition = "not-running" | "next-exit" | "removed";

export interface AttachOptions {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** Live streams, as opposed to only what is logged. */
  stream: boolean;
  /** First everything logged so far. */
  logs: boolean;
  /** Docker's detach key sequence ("ctrl-p,ctrl-q"); empty for the default. */
  detachKeys: string;
}

/** What a reader of logs may choose; whether there are frames is the container's matter. */
export type LogOptions = Omit<LogReadOptions, "framed">;

export interface ContainerService {
  create(name: string, request: ContainerCreateRequest, platform: string): Promise<ContainerCreateResponse>;
  /** "not-modified" if it runs already. `checkpoint`: go on from there instead of from the beginning. */
  start(nameOrId: string, options?: { checkpoint?: string }): Promise<void>;
  /** `directory`: where they are if not with the container; "" for there. */
  listCheckpoints(nameOrId: string, directory: string): Promise<{ Name: string }[]>;
  createCheckpoint(nameOrId: string, request: CheckpointRequest): Promise<void>;
  removeCheckpoint(nameOrId: string, which: { name: string; directory: string }): Promise<void>;
  /** Grace in seconds (undefined: the container's own, else 10); -1 waits without end. "not-modified" if it does not run. */
  stop(nameOrId: string, options: { signal?: string; timeout?: number }): Promise<void>;
  restart(nameOrId: string, options: { signal?: string; timeout?: number }): Promise<void>;
  kill(nameOrId: string, signal: string): Promise<void>;
  pause(nameOrId: string): Promise<void>;
  unpause(nameOrId: string): Promise<void>;
  rename(nameOrId: string, name: string): Promise<void>;
  /** Other limits and another restart policy; answers the warnings. */
  update(nameOrId: string, change: HostConfig): Promise<string[]>;
  remove(nameOrId: string, options: { force: boolean; volumes: boolean; link: boolean }): Promise<void>;
  resize(nameOrId: string, rows: number, columns: number): Promise<void>;
  /**
   * Resolves as soon as the wait is registered (so that headers can be sent), with a promise of the end.
   */
  wait(
    nameOrId: string,
    condition: WaitCondition,
    signal: AbortSignal,
  ): Promise<{ result: Promise<{ StatusCode: number; Error?: { Message: string } }> }>;
  inspect(nameOrId: string, options: { size: boolean }): Promise<ContainerInspect>;
  /** ContainerSummary[] as the JSON that is sent: of a thousand containers most of it is at hand. */
  list(options: { all: boolean; limit: number; size: boolean; filters: Filters }): Promise<string>;
  /** Lines of JSON: one a second with `stream`, else one; `once` without waiting for a second sample. */
  stats(
    nameOrId: string,
    options: { stream: boolean; once: boolean },
    signal: AbortSignal,
  ): AsyncIterable<string>;
  top(nameOrId: string, psArgs: string): Promise<{ Titles: string[]; Processes: string[][] }>;
  /**
   * A log stream, already in Docker's multiplexed framing (or raw for a terminal). `tty` tells which, for the content type.
   */
  logs(
    nameOrId: string,
    options: LogOptions,
    signal: AbortSignal,
  ): Promise<{ tty: boolean; stream: Readable }>;
  /**
   * Checks that an attach is possible and tells the framing; then `connect` has to be called with the hijacked stream, or,
   * where none came of it, with one that is destroyed.
   */
  attach(
    nameOrId: string,
    options: AttachOptions,
  ): Promise<{ tty: boolean; connect: (client: Duplex) => Promise<void> }>;
  prune(filters: Filters): Promise<{ ContainersDeleted: string[] | null; SpaceReclaimed: number }>;
  /** Who stands on an image; never waits, so that it can be asked at the last moment. */
  imageUsers: ImageUsers;
  /** The program of the last start, readable (`berth debug program`). */
  describeProgram(nameOrId: string): Promise<string>;
  /** How long the stages of the last operations took. */
  stageTimes(nameOrId: string): StageTime[];
}

export interface NetworkService {
  list(): NetworkResource[];
  /** By id, unique id prefix or name; throws "not-found" with Docker's text. */
  inspect(nameOrId: string): NetworkResource;
  create(request: NetworkCreateRequest): Promise<{ Id: string; Warning: string }>;
  remove(nameOrId: string): Promise<void>;
  connect(nameOrId: string, request: NetworkConnectRequest): Promise<void>;
  disconnect(nameOrId: string, request: NetworkDisconnectRequest): Promise<void>;
  /** Removes what users made and no running container is on. */
  prune(filters: Filters): Promise<{ NetworksDeleted: string[] | null }>;
}

export interface ExecService {
  create(containerNameOrId: string, request: ExecCreateRequest): Promise<{ Id: string }>;
  /** Checks and prepares; then `connect` runs it with the hijacked stream, resolving at its end. */
  start(
    id: string,
    options: { detach: boolean; tty: boolean; consoleSize?: [number, number] | null },
  ): Promise<{ tty: boolean; connect: (client: Duplex) => Promise<void> } | undefined>;
  resize(id: string, rows: number, columns: number): Promise<void>;
  inspect(id: string): ExecInspect;
}

export interface EventService {
  /** Past events since `since` (nanoseconds), then live ones until `until` or the signal. */
  subscribe(options: {
    since?: bigint | undefined;
    until?: bigint | undefined;
    filters: Filters;
    signal: AbortSignal;
  }): AsyncIterable<EventMessage>;
}

export interface SystemService {
  /** Body of GET /version, without the API version fields that the API server adds. */
  version(): Promise<Record<string, unknown>>;
  /** Body of GET /info. */
  info(): Promise<Record<string, unknown>>;
  /** Body of GET /system/df; `types` as in its query, none for all. */
  diskUsage(types: string[]): Promise<Record<string, unknown>>;
  pruneBuildCache(filters: Filters): Promise<{ CachesDeleted: string[] | null; SpaceReclaimed: number }>;
  /** POST /auth: checks registry credentials. */
  authenticate(auth: Record<string, string>): Promise<{ Status: string; IdentityToken: string }>;
}
