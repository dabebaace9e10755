/** What a handler is given: the request, decoded as far as every handler needs it, and the ways to answer. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Engine, Filters } from "#engine/engine-types.ts";
import type { Logger } from "#errors/logger-types.ts";
import type { Query } from "./query.ts";
import type { RequestBody } from "./request-body.ts";
import type { Shape } from "./shape.ts";
import type { ApiVersion } from "./versions.ts";

/** The versions a server speaks, for the answers that tell them. */
export interface SpokenVersions {
  oldest: string;
  newest: string;
}

export interface RequestContext {
  readonly engine: Engine;
  readonly logger: Logger;
  readonly operation: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly version: ApiVersion;
  readonly spoken: SpokenVersions;
  readonly experimental: boolean;
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly body: RequestBody;
  /** Aborted when the client is gone before it has its answer. */
  readonly signal: AbortSignal;
  /** The decoded `filters` parameter. Throws "invalid". */
  filters(): Filters;
  json<T>(shape: Shape<T>, options?: { optional?: boolean }): Promise<T>;
  /** Answers the head and gives the bare connection; only in operations that take it over (hijack.ts). */
  takeOver(contentType: string): Duplex;
  /** The connection as a WebSocket. Throws "invalid" where the client has asked for none. */
  takeWebSocket(): Promise<Duplex>;
}

/** Resolves when the answer is complete; what it throws becomes the answer if none was begun. */
export type Handler = (context: RequestContext) => Promise<void> | void;

/** By operation id. */
export type Handlers = Readonly<Record<string, Handler>>;

/** The parameter that names the object; every pattern with a parameter has `id` or `name`. */
export function nameOf(context: RequestContext): string {
  return context.parameters.id ?? context.parameters.name ?? "";
}
