/**
 * Docker's multiplexed streams: frames of `u8 stream, 3 zero bytes, u32 big-endian length, payload`, stream 1 for
 * stdout and 2 for stderr. Holds at most one frame head; payloads go on as they come, however long the frame.
 */
import type { Readable, Writable } from "node:stream";

const HEAD = 8;

/** Feeds the payloads to `sink` in order. Keeps its place between calls. */
export class Demultiplexer {
  readonly #sink: (stream: number, payload: Buffer) => void;
  #head = Buffer.alloc(0);
  #stream = 0;
  #left = 0;

  constructor(sink: (stream: number, payload: Buffer) => void) {
    this.#sink = sink;
  }

  push(input: Buffer): void {
    let chunk = input;
    while (chunk.length > 0) {
      if (this.#left > 0) {
        const part = chunk.subarray(0, this.#left);
        this.#left -= part.length;
        this.#sink(this.#stream, part);
        chunk = chunk.subarray(part.length);
        continue;
      }
      const wanted = HEAD - this.#head.length;
      this.#head = Buffer.concat([this.#head, chunk.subarray(0, wanted)]);
      chunk = chunk.subarray(wanted);
      if (this.#head.length < HEAD) return;
      this.#stream = this.#head[0] ?? 0;
      this.#left = this.#head.readUInt32BE(4);
      this.#head = Buffer.alloc(0);
    }
  }
}

/**
 * Copies a stream of the daemon to stdout and stderr until it ends, waiting when they cannot take more. Rejects when
 * the source fails.
 */
export async function copyOutput(
  source: Readable,
  multiplexed: boolean,
  stdout: Writable,
  stderr: Writable,
): Promise<void> {
  let full: Writable | undefined;
  const write = (target: Writable, payload: Buffer) => {
    if (!target.write(payload)) full = target;
  };
  const demultiplexer = new Demultiplexer((stream, payload) => {
    if (stream === 3) throw new Error(`error from daemon in stream: ${payload.toString()}`);
    write(stream === 2 ? stderr : stdout, payload);
  });
  for await (const chunk of source) {
    if (multiplexed) demultiplexer.push(chunk as Buffer);
    else write(stdout, chunk as Buffer);
    if (full !== undefined) {
      const waiting = full;
      full = undefined;
      await new Promise<void>((resolve) => waiting.once("drain", resolve));
    }
  }
}
