/**
 * What the event loop and the blob threads say to one another.
 */
import type { LayerBytes } from "./layer-bytes.ts";
import type { Transport } from "./transport.ts";

export interface BlobRequest {
  url: string;
  headers: Record<string, string>;
  transport: Transport;
  /** Where the bytes are collected, and where the verified file is renamed to. */
  partial: string;
  target: string;
  digest: string;
  /** Bytes. */
  size: number;
}

export interface SendRequest {
  /** Of the upload that the registry began. */
  url: string;
  headers: Record<string, string>;
  transport: Transport;
  bytes: LayerBytes;
  /** Of the archive, uncompressed. */
  diffId: string;
}

export type BlobResult =
  | { outcome: "complete" }
  /** All bytes are with the registry, which waits for their digest at `location`. */
  | { outcome: "sent"; digest: string; size: number; location: string }
  /** The layer's files are not what they were. */
  | { outcome: "source"; message: string }
  | { outcome: "cancelled" }
  | { outcome: "digest"; actual: string }
  /** The connection failed or broke; the partial file holds what came. */
  | { outcome: "network"; code: string; message: string }
  | { outcome: "disk"; code: string; message: string }
  | {
      outcome: "refused";
      status: number;
      wwwAuthenticate: string | undefined;
      retryAfter: string | undefined;
      body: string;
    };

export type ToBlobWorker =
  | { kind: "receive"; id: number; request: BlobRequest }
  | { kind: "send"; id: number; request: SendRequest }
  /** Flush the file system that holds `path`. */
  | { kind: "sync"; id: number; path: string }
  | { kind: "cancel"; id: number };

export type FromBlobWorker =
  /** Bytes received, or bytes of the archive sent. */
  | { kind: "progress"; id: number; current: number; verifying: boolean }
  | { kind: "done"; id: number; result: BlobResult };
