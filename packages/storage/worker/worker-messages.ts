/**
 * What travels between the daemon and a storage worker, and how errors survive the way.
 */
import { BerthError, type ErrorCode } from "#errors/errors.ts";
import type { CopyTask } from "#storage/copy/copy-tree.ts";
import type { LayerComparison, LayerView, Whiteouts } from "#storage/driver-types.ts";
import type { FileTask } from "#storage/files/file-tasks.ts";
import type { ArchiveTask } from "#storage/layout/write-archive.ts";
import type { StageRequest } from "#storage/staging/staging-types.ts";
import type { UnpackTask } from "#storage/unpack/unpack-layer.ts";

export type StorageTask =
  | { kind: "unpack"; task: UnpackTask }
  | { kind: "copy"; task: CopyTask }
  /** Work on a container's files (files/file-tasks.ts). */
  | { kind: "files"; task: FileTask }
  /** Unpack the layers of an image archive as it arrives; asks for a Stage for each. Answers StagedArchive. */
  | { kind: "stage"; task: StageRequest }
  /** Give directories of a layer the mode and owner they have in the layers below, uppermost first. */
  | { kind: "imply"; directory: string; lower: LayerView; paths: string[] }
  /** Size and digest of archives, by the paths of their layouts. */
  | { kind: "layouts"; layouts: string[] }
  /** Write an archive with layers in it. */
  | { kind: "archive"; task: ArchiveTask }
  /** Delete a tree that has no other user. */
  | { kind: "remove"; path: string }
  /** The same for many; answers the paths of those that could not be deleted whole. */
  | { kind: "remove-all"; paths: string[] }
  /** The same where it is, or has in it, subvolumes of btrfs. */
  | { kind: "remove-subvolume"; path: string }
  /** Bytes below a directory that is a layer with such marks, if it has any; answers a number. */
  | { kind: "measure"; path: string; whiteouts?: Whiteouts }
  /** Bytes that a layer adds to those below; answers a number. */
  | { kind: "measure-changes"; comparison: LayerComparison }
  /** Write back the file system `path` is on. */
  | { kind: "sync"; path: string }
  /** Collect what former tasks have left in the thread's memory. */
  | { kind: "collect" };

export interface TaskMessage {
  id: number;
  task: StorageTask;
  /**
   * Two Int32, shared memory because the worker is busy when it matters: set to 1 to stop; how many ms its client has
   * kept it waiting.
   */
  abort: SharedArrayBuffer;
}

/** What a worker had asked. */
export interface AnswerMessage {
  id: number;
  answer: { value: unknown } | { error: SentError };
}

export type ReplyMessage =
  | { id: number; kind: "progress"; consumed: number; detail?: unknown }
  /** The task needs something before it goes on; one question at a time. */
  | { id: number; kind: "ask" }
  | { id: number; kind: "done"; result: unknown }
  | { id: number; kind: "failed"; error: SentError };

/** An error as plain data. */
export interface SentError {
  name: string;
  message: string;
  stack: string | undefined;
  /** Of a BerthError. */
  berth?: { code: ErrorCode; operation: string; object?: string; hint?: string };
  cause?: SentError;
}

/** How many causes of causes are kept. */
const causeDepth = 4;

export function packError(error: unknown, depth = 0): SentError {
  if (!(error instanceof Error)) return { name: "Error", message: String(error), stack: undefined };
  const sent: SentError = { name: error.name, message: error.message, stack: error.stack };
  if (error instanceof BerthError) {
    const { code, operation, object, hint } = error;
    sent.berth = {
      code,
      operation,
      ...(object === undefined ? {} : { object }),
      ...(hint === undefined ? {} : { hint }),
    };
  }
  if (error.cause !== undefined && depth < causeDepth) sent.cause = packError(error.cause, depth + 1);
  return sent;
}

export function unpackError(sent: SentError): Error {
  const cause = sent.cause === undefined ? undefined : unpackError(sent.cause);
  if (sent.name === "AbortError") return new DOMException(sent.message, "AbortError");
  if (sent.berth !== undefined) {
    const { code, ...detail } = sent.berth;
    return new BerthError(code, sent.message, cause === undefined ? detail : { ...detail, cause });
  }
  const error = new Error(sent.message, cause === undefined ? undefined : { cause });
  error.name = sent.name;
  if (sent.stack !== undefined) error.stack = sent.stack;
  return error;
}
