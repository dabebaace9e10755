/**
 * What the event loop and the blob thread say to one another.
 */

export interface BlobRequest {
  url: string;
  headers: Record<string, string>;
  insecure: boolean;
  /** Where the bytes are collected, and where the verified file is renamed to. */
  partial: string;
  target: string;
  digest: string;
  /** Bytes. */
  size: number;
}

export type BlobResult =
  | { outcome: "complete" }
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
  /** Flush the file system that holds `path`. */
  | { kind: "sync"; id: number; path: string }
  | { kind: "cancel"; id: number };

export type FromBlobWorker =
  | { kind: "progress"; id: number; received: number; verifying: boolean }
  | { kind: "done"; id: number; result: BlobResult };
