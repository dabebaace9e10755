/**
 * The storage worker thread: does what would block the event loop (unpack layers, copy, delete and measure trees), one task at a time.
 *
 * It decides nothing and keeps nothing between tasks.
 */
import { parentPort } from "node:worker_threads";
import type { Aborted } from "#kernel/client-pace.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { removeTree } from "#kernel/remove-tree.ts";
import { O_RDONLY, open, syncfs } from "#kernel/syscalls.ts";
import { treeSize } from "#kernel/tree-size.ts";
import { changesSize } from "#storage/changes/changes-size.ts";
import { copyTree } from "#storage/copy/copy-tree.ts";
import type { Whiteouts } from "#storage/driver-types.ts";
import { isReserved } from "#storage/layer-marks.ts";
import { layoutOf } from "#storage/layout/replay-layer.ts";
import { writeArchive } from "#storage/layout/write-archive.ts";
import { applyImplied } from "#storage/staging/implied-directories.ts";
import type { Stage, StageRequest } from "#storage/staging/staging-types.ts";
import { prepareThread, unpackLayer } from "#storage/unpack/unpack-layer.ts";
import {
  type AnswerMessage,
  packError,
  type ReplyMessage,
  type TaskMessage,
  unpackError,
} from "#storage/worker/worker-messages.ts";

/** Milliseconds between two progress messages. */
const progressInterval = 200;

const port = parentPort;
if (port === null) throw new Error("storage-worker.ts only runs as a worker thread");
prepareThread();
/** Waits for what was asked. */
let asking: PromiseWithResolvers<unknown> | undefined;

port.on("message", (message: TaskMessage | AnswerMessage) => {
  if ("answer" in message) {
    if ("error" in message.answer) asking?.reject(unpackError(message.answer.error));
    else asking?.resolve(message.answer.value);
    return;
  }
  perform(message).then(
    (result) => reply({ id: message.id, kind: "done", result }),
    (error: unknown) => reply({ id: message.id, kind: "failed", error: packError(error) }),
  );
});

function reply(message: ReplyMessage): void {
  port?.postMessage(message);
}

function isRemoved(path: string): boolean {
  try {
    removeTree(path);
    return true;
  } catch {
    return false; // Whoever asked looks into it.
  }
}

function ask(id: number): Promise<unknown> {
  asking = Promise.withResolvers();
  reply({ id, kind: "ask" });
  return asking.promise;
}

async function perform({ id, task, abort }: TaskMessage): Promise<unknown> {
  switch (task.kind) {
    case "unpack":
      return await unpack(id, task.task, new Int32Array(abort));
    case "copy": {
      const stop = new Int32Array(abort);
      copyTree(task.task, () => Atomics.load(stop, 0) !== 0);
      return undefined;
    }
    case "files": {
      // Loaded where it is needed: most threads never do.
      const { performFileTask } = await import("#storage/files/file-tasks.ts");
      return await performFileTask(task.task, lookAt(abort));
    }
    case "stage":
      return await stage(id, task.task, lookAt(abort));
    case "imply":
      applyImplied(task.directory, task.lower, task.paths);
      return undefined;
    case "layouts":
      return task.layouts.map(layoutOf);
    case "archive":
      writeArchive(task.task, lookAt(abort));
      return undefined;
    case "remove":
      removeTree(task.path);
      return undefined;
    case "remove-all":
      return task.paths.filter((path) => !isRemoved(path));
    case "remove-subvolume": {
      const { removeSubvolume } = await import("#storage/btrfs/remove-subvolume.ts");
      await removeSubvolume(task.path);
      return undefined;
    }
    case "measure":
      return measure(task.path, task.whiteouts);
    case "measure-changes":
      return changesSize(task.comparison);
    case "sync": {
      using directory = new FileDescriptor(open(task.path, O_RDONLY));
      syncfs(directory.number);
      return undefined;
    }
    case "collect":
      // As a whole: nobody waits for a thread that rests.
      globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
      return undefined;
  }
}

/** Is the task to stop? And tells whoever asks for its place how long its client has kept it waiting. */
function lookAt(shared: SharedArrayBuffer): Aborted {
  const words = new Int32Array(shared);
  return (waited) => {
    if (waited !== undefined) Atomics.store(words, 1, waited);
    return Atomics.load(words, 0) !== 0;
  };
}

function measure(path: string, whiteouts: Whiteouts = "apply"): number {
  return treeSize(path, whiteouts === "aufs" ? (name) => isReserved(whiteouts, name) : undefined);
}

async function stage(id: number, task: StageRequest, aborted: Aborted): Promise<unknown> {
  // Loaded where it is needed: most threads never do.
  const { stageArchive } = await import("#storage/staging/stage-archive.ts");
  let told = 0;
  return await stageArchive(task, {
    stage: async () => (await ask(id)) as Stage,
    report: (progress) => {
      const now = performance.now();
      if (now - told < progressInterval && progress.current < progress.total) return;
      told = now;
      reply({ id, kind: "progress", consumed: progress.current, detail: progress });
    },
    aborted,
  });
}

function unpack(id: number, task: Parameters<typeof unpackLayer>[0], abort: Int32Array): Promise<unknown> {
  let told = 0;
  return unpackLayer(task, {
    aborted: () => Atomics.load(abort, 0) !== 0,
    onProgress: (consumed) => {
      const now = performance.now();
      if (now - told < progressInterval) return;
      told = now;
      reply({ id, kind: "progress", consumed });
    },
  });
}
