/**
 * The body of a request: as a stream, or as a whole up to a limit. What isn't read is thrown away, within a
 * budget, so that an answer given early reaches a client that is still sending; memory never holds more than
 * the limit.
 */
import type { IncomingMessage } from "node:http";
import { type Duplex, PassThrough, type Readable } from "node:stream";
import { BerthError } from "#errors/errors.ts";

export interface RequestBody {
  /** From the headers; undefined when only the end will tell (chunked). */
  readonly length: number | undefined;
  /**
   * For bodies too large to be held. Whoever reads it may destroy it without harm to the answer; it fails
   * when the client is gone before the end.
   */
  stream(): Readable;
  /** Everything. Throws "too-large" beyond `limit` bytes, at once where the headers already tell. */
  read(limit: number): Promise<Buffer>;
}

/** How long a client may send nothing of a body that is read as a whole, ms: as long as a head may take. */
const bodyPatience = 300_000;

/** The body of an ordinary request. */
export function bodyOf(request: IncomingMessage, patience = bodyPatience): RequestBody {
  const length = declaredLength(request);
  return {
    length,
    stream: () => {
      endWithSocket(request);
      return shield(request);
    },
    async read(limit) {
      if (length !== undefined && length > limit) throw tooLarge(limit);
      endWithSocket(request);
      const chunks: Buffer[] = [];
      let size = 0;
      let timer: NodeJS.Timeout | undefined;
      // Not `for await`: leaving that loop early would destroy the connection before the answer is out.
      await new Promise<void>((resolve, reject) => {
        const waitOn = () => {
          clearTimeout(timer);
          timer = setTimeout(() => reject(stalled(patience)), patience);
        };
        waitOn();
        request.on("data", (chunk: Buffer) => {
          waitOn();
          size += chunk.length;
          if (size > limit) {
            request.removeAllListeners("data").pause();
            reject(tooLarge(limit));
          } else {
            chunks.push(chunk);
          }
        });
        let whole = false;
        // Every request closes; only one that wasn't whole is worth an error.
        const ended = () => {
          if (!whole) reject(cutShort());
        };
        request.on("end", () => {
          whole = true;
          resolve();
        });
        request.on("error", ended);
        request.on("close", ended);
      }).finally(() => clearTimeout(timer));
      return Buffer.concat(chunks);
    },
  };
}

/**
 * The body of a request whose connection is being taken over: Node gives no body then, so it is the first
 * bytes of what follows the head. What comes after it stays in the socket.
 */
export function bodyBeforeTakeover(request: IncomingMessage, socket: Duplex): RequestBody {
  const length = declaredLength(request);
  return {
    length,
    stream: () => socket,
    async read(limit) {
      // Newer versions of Node do give the body.
      if (!request.complete || request.readableLength > 0) return await bodyOf(request).read(limit);
      if (length === undefined) {
        throw new BerthError(
          "invalid",
          "a request that takes the connection over must tell the length of its body",
          {
            operation: "read request body",
          },
        );
      }
      if (length > limit) throw tooLarge(limit);
      if (length === 0) return Buffer.alloc(0);
      return await readExactly(socket, length);
    },
  };
}

/** Bytes read and thrown away of a body that nobody wanted, and how long to wait for them in milliseconds. */
const discardBytes = 256 * 1024 * 1024;
const discardTime = 30_000;

/** After an answer was given: lets the client finish sending, but not for ever. */
export function discardRest(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  let size = 0;
  const timer = setTimeout(() => request.destroy(), discardTime);
  timer.unref();
  request.unpipe();
  request.removeAllListeners("data");
  request.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > discardBytes) request.destroy();
  });
  // A listener, because a client that goes away now is no news.
  request.on("error", () => {});
  request.on("close", () => clearTimeout(timer));
  request.on("end", () => clearTimeout(timer));
  request.resume();
}

/**
 * The parser finds a body cut short when its client's side ends, but not where the head offered an upgrade that is not taken:
 * nobody would ever hear of it.
 */
function endWithSocket(request: IncomingMessage): void {
  const { socket } = request;
  const ended = () => {
    if (!request.complete) request.destroy();
  };
  socket?.once("end", ended);
  request.once("close", () => socket?.off("end", ended));
}

/** Destroying a request takes its connection along, and with it the answer; destroying this does not. */
function shield(request: IncomingMessage): Readable {
  const stream = new PassThrough();
  request.pipe(stream);
  request.on("close", () => {
    if (!request.complete) stream.destroy(cutShort());
  });
  request.on("error", () => stream.destroy(cutShort()));
  // Whoever reads it may still wait for his turn; he finds it failed then.
  stream.on("error", () => {});
  stream.on("close", () => request.unpipe(stream));
  return stream;
}

function declaredLength(request: IncomingMessage): number | undefined {
  if (request.headers["transfer-encoding"] !== undefined) return undefined;
  return Number(request.headers["content-length"] ?? 0);
}

/** Leaves what comes behind those bytes in the stream. */
function readExactly(socket: Duplex, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      socket.off("readable", attempt);
      socket.off("end", fail);
      socket.off("close", fail);
      act();
    };
    const fail = (): void => settle(() => reject(cutShort()));
    const attempt = (): void => {
      const chunk: Buffer | null = socket.read(length);
      // At the end of the stream Node gives what there is.
      if (chunk !== null) settle(() => (chunk.length === length ? resolve(chunk) : reject(cutShort())));
    };
    if (socket.readableEnded || socket.destroyed) {
      reject(cutShort());
      return;
    }
    socket.on("readable", attempt);
    socket.on("end", fail);
    socket.on("close", fail);
  });
}

function tooLarge(limit: number): BerthError {
  return new BerthError("too-large", `request body too large: the limit is ${limit} bytes`, {
    operation: "read request body",
  });
}

function stalled(patience: number): BerthError {
  return new BerthError("invalid", `nothing came of the request's body for ${patience / 1000} s`, {
    operation: "read request body",
  });
}

function cutShort(): BerthError {
  return new BerthError("invalid", "the request ended before its body was complete", {
    operation: "read request body",
  });
}
