/**
 * Sends one layer in a blob thread: its archive is read, compressed, hashed and uploaded piece by piece.
 *
 * Nothing is kept: memory holds a few pieces, the disk nothing. One attempt; the other side repeats, authorizes, and closes the upload
 * with the digest found here. A layer whose files are not what they were is told apart and never completed.
 */
import { createHash } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { discarded } from "#kernel/buffer-garbage.ts";
import type { BlobResult, SendRequest } from "./blob-messages.ts";
import { refusalOf } from "./blob-refusal.ts";
import { gzipped } from "./compress.ts";
import { exchange } from "./http-exchange.ts";
import { openLayerBytes } from "./layer-bytes.ts";

/** Work done before others in this thread get their turn, ms. */
const sliceMs = 10;

class SourceError extends Error {}

/** One attempt. Throws ExchangeError where the network fails. */
export async function sendLayer(
  request: SendRequest,
  onProgress: (sent: number, verifying: boolean) => void,
  signal: AbortSignal,
): Promise<BlobResult> {
  const hash = createHash("sha256");
  let size = 0;
  const body = async function* (): AsyncIterable<Uint8Array> {
    for await (const piece of gzipped(archive(request, onProgress, signal))) {
      hash.update(piece);
      size += piece.length;
      yield piece;
      discarded(piece.length);
    }
  };
  try {
    const { url, headers, transport } = request;
    const response = await exchange({ method: "PATCH", url, headers, transport, body: body(), signal });
    // 202 is the specification's; some registries say 204.
    if (response.status !== 202 && response.status !== 204) return await refusalOf(response);
    response.body.resume();
    const location = response.headers.location;
    return {
      outcome: "sent",
      digest: `sha256:${hash.digest("hex")}`,
      size,
      location: location === undefined ? url : new URL(location, response.url).href,
    };
  } catch (error) {
    if (error instanceof SourceError) return { outcome: "source", message: error.message };
    throw error;
  }
}

/** The archive, compared with the layer's diff id at its end. */
async function* archive(
  { bytes, diffId }: SendRequest,
  onProgress: (sent: number, verifying: boolean) => void,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  const hash = createHash("sha256");
  let read = 0;
  let since = performance.now();
  try {
    for await (const piece of await openLayerBytes(bytes)) {
      hash.update(piece);
      read += piece.length;
      onProgress(read, false);
      yield piece;
      if (performance.now() - since > sliceMs) {
        await turn();
        since = performance.now();
      }
      signal.throwIfAborted();
    }
  } catch (error) {
    signal.throwIfAborted();
    throw new SourceError((error as Error).message, { cause: error });
  }
  const actual = `sha256:${hash.digest("hex")}`;
  if (actual !== diffId) throw new SourceError(`its archive now has digest ${actual}`);
}
