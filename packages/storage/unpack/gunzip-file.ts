/**
 * A gzip file as a stream of what is in it, by libisal2 where that is installed.
 *
 * The next piece is inflated in another thread while whoever reads works on the one before. Holds two pieces of output
 * and one of input, whatever the file says.
 */
import { open } from "node:fs/promises";
import { type Inflated, InflateError, type IsalInflater } from "#kernel/isal-inflate.ts";

/** Compressed bytes read at once. */
const inputSize = 256 * 1024;
/** Large enough that the hand-over between threads costs nothing, small enough for a processor's cache. */
const outputSize = 512 * 1024;

/**
 * Yields the content of all members of the file; each piece is valid until the next is asked for. What follows the last
 * member is ignored if it is no member, as gzip does. `consumed` gets the number of compressed bytes read so far. Throws
 * InflateError for damaged data.
 */
export async function* gunzipFile(
  path: string,
  inflater: IsalInflater,
  consumed: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  await using file = await open(path, "r");
  const input = Buffer.allocUnsafeSlow(inputSize);
  let total = 0;
  let over = false;
  /** More input behind what is unread of the last; false at the end of the file. */
  const refill = async (): Promise<boolean> => {
    const rest = inflater.rest;
    const kept = rest.copy(input, 0);
    const { bytesRead } = await file.read(input, kept, inputSize - kept, total);
    total += bytesRead;
    inflater.feed(input.subarray(0, kept + bytesRead));
    consumed(total);
    return bytesRead > 0;
  };
  /** The next piece; undefined after the last. */
  const next = async (output: Buffer): Promise<Buffer | undefined> => {
    for (;;) {
      if (inflater.unread === 0 && !(await refill())) throw new InflateError("unexpected end of file");
      const { length, ended }: Inflated = await inflater.inflate(output);
      if (ended) {
        if (inflater.unread < 2) await refill();
        over = !beginsMember(inflater.rest);
        if (!over) inflater.begin();
      }
      if (length > 0) return output.subarray(0, length);
      if (over) return undefined;
    }
  };
  const outputs = [Buffer.allocUnsafeSlow(outputSize), Buffer.allocUnsafeSlow(outputSize)] as const;
  let turn = 0;
  let pending = next(outputs[0]);
  try {
    for (;;) {
      const piece = await pending;
      if (piece === undefined) return;
      turn = 1 - turn;
      pending = over ? Promise.resolve(undefined) : next(outputs[turn] as Buffer);
      // A failure is told when its turn comes.
      pending.catch(() => {});
      yield piece;
    }
  } finally {
    // The other thread must not write into memory that is gone.
    await pending.catch(() => {});
  }
}

function beginsMember(bytes: Buffer): boolean {
  return bytes.length >= 2 && bytes[0] === 0x1f && bytes[1] === 0x8b;
}
