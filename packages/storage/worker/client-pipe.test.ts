/** What a client sends, handed to a reader that takes all of it, or gives up, or loses the client. */
import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { FileDescriptor } from "#kernel/fd.ts";
import { duplicate } from "#kernel/syscalls.ts";
import { receiveInWorker } from "#storage/worker/client-pipe.ts";

/** More than a pipe takes. */
const LARGE = Buffer.alloc(4 << 20, "x");
const PIECE = 64 << 10;
const SMALL = Buffer.from("all of it");

/** A body that never fails by itself: whoever listens for its errors is somebody else. */
function bodyOf(content: Buffer, ends = true): PassThrough {
  const body = new PassThrough({ highWaterMark: LARGE.length * 2 });
  body.on("error", () => {});
  // In pieces, as they come from a connection: most of them wait in the stream.
  for (let at = 0; at < content.length; at += PIECE) body.write(content.subarray(at, at + PIECE));
  if (ends) body.end();
  return body;
}

async function readAll(source: FileDescriptor): Promise<string> {
  let text = "";
  // One of its own, which it closes.
  for await (const chunk of createReadStream("", { fd: duplicate(source.number) })) text += chunk;
  return text;
}

for (const content of [SMALL, LARGE]) {
  test(`${content.length} bytes come whole`, async () => {
    const text = await receiveInWorker(bodyOf(content), readAll);
    assert.ok(text === content.toString());
  });

  for (const ends of [true, false]) {
    if (!ends && content === SMALL) continue;
    test(`a reader that fails before it has read ${content.length} bytes, of ${ends ? "all there are" : "more"}`, async () => {
      const reads = receiveInWorker(bodyOf(content, ends), async () => {
        await turn();
        throw new Error("no room");
      });
      await assert.rejects(reads, { message: "no room" });
    });
  }

  test(`a reader that has enough before it has read ${content.length} bytes`, async () => {
    assert.equal(await receiveInWorker(bodyOf(content), async () => "enough"), "enough");
  });
}

test("a client that fails is the failure, whatever the reader makes of it", async () => {
  const body = bodyOf(LARGE, false);
  const gone = Object.assign(new Error("cut short"), { name: "BerthError" });
  const reads = receiveInWorker(body, async (source) => {
    body.destroy(gone);
    await readAll(source);
    throw new Error("half an archive");
  });
  await assert.rejects(reads, gone);
});
