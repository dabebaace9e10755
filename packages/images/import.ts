/**
 * docker import: a root file system archive becomes an image of one layer.
 */
import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { BerthError } from "#errors/errors.ts";
import { type Digest, digestOf } from "./digest.ts";
import { diskError } from "./disk-errors.ts";
import { applyChanges } from "./dockerfile-changes.ts";
import { imageName } from "./image-names.ts";
import type { ReportProgress } from "./image-types.ts";
import type { LoadDependencies } from "./load.ts";
import { parsePlatform } from "./platform.ts";
import { progressText, throttle } from "./progress.ts";
import { parseReference, withDefaultTag } from "./reference.ts";
import type { ProxySettings } from "./registry/proxy.ts";
import { openRemoteArchive } from "./remote-archive.ts";

export interface ImportOptions {
  reference: string | undefined;
  message: string;
  changes: string[];
  platform: string;
  /** Where to fetch the archive; without it the archive is what the client sends. */
  address?: string | undefined;
  report: ReportProgress;
  signal?: AbortSignal;
}

/** Answers the id; throws BerthError and leaves nothing. */
export async function importImage(
  archive: Readable,
  options: ImportOptions,
  { images, layers, scratch, flush, proxy }: LoadDependencies & { proxy: ProxySettings | undefined },
): Promise<Digest> {
  // All that can be wrong with the request is told before the body is read.
  const names =
    options.reference === undefined || options.reference === "" ? [] : [importName(options.reference)];
  const config = applyChanges({}, options.changes);
  const platform = parsePlatform(options.platform);
  const file = join(scratch, randomUUID());
  try {
    if (options.address === undefined) await receive(archive, 0, file, options);
    else {
      const remote = await openRemoteArchive(options.address, { proxy, signal: options.signal });
      options.report({ status: `Downloading from ${remote.url}` });
      await receive(remote.body, remote.size, file, options);
    }
    await using stack = await layers.makeUnknown(file, { report: () => {}, signal: options.signal });
    await flush();
    const created = new Date().toISOString();
    const bytes = Buffer.from(
      JSON.stringify({
        architecture: platform.architecture,
        ...(platform.variant === "" ? {} : { variant: platform.variant }),
        comment: options.message,
        config,
        created,
        history: [{ created, comment: options.message }],
        os: platform.os,
        rootfs: { type: "layers", diff_ids: stack.chain.slice(0, 1) },
      }),
    );
    const id = digestOf(bytes);
    images.commit({ id, config: bytes, chain: stack.chain, size: stack.size(), tagged: true }, names);
    return id;
  } finally {
    await rm(file, { force: true });
  }
}

function importName(text: string) {
  const reference = parseReference(text);
  if (reference.digest === undefined) return imageName(withDefaultTag(reference));
  throw new BerthError("invalid", "cannot import digest reference", {
    operation: "import image",
    object: text,
  });
}

/** `total`: bytes of the archive, 0 where nobody knows. */
async function receive(
  archive: Readable,
  total: number,
  file: string,
  { report, signal }: ImportOptions,
): Promise<void> {
  let received = 0;
  const importing = throttle((current) =>
    report({
      status: "Importing",
      progressDetail: { current, ...(total > 0 ? { total } : {}) },
      progress: progressText(current, total),
    }),
  );
  async function* counted(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of source) {
      received += piece.length;
      importing(received, total);
      yield piece;
    }
  }
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const target = createWriteStream(file, { flags: "wx", mode: 0o600 });
    await pipeline(archive, counted, target, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw diskError(error, "import image", "archive");
  }
}
