/**
 * Docker's stream framing: one byte of stream (1 stdout, 2 stderr, 3 what the daemon itself has to say), three zeros, the
 * length big-endian, the bytes.
 */

/** One frame. */
export function frame(stream: 1 | 2 | 3, content: Buffer | string): Buffer {
  const bytes = Buffer.from(content);
  const head = Buffer.alloc(8);
  head[0] = stream;
  head.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([head, bytes]);
}

/** Takes a framed stream apart, whatever the chunks it comes in. Content is told in pieces, as it comes. */
export class Deframer {
  readonly #tell: (stream: number, content: Buffer) => void;
  #head = Buffer.alloc(8);
  #headLength = 0;
  #left = 0;

  constructor(tell: (stream: number, content: Buffer) => void) {
    this.#tell = tell;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const content = chunk.subarray(at, at + this.#left);
        this.#left -= content.length;
        at += content.length;
        this.#tell(this.#head[0] ?? 0, content);
      } else {
        const part = chunk.subarray(at, at + 8 - this.#headLength);
        part.copy(this.#head, this.#headLength);
        this.#headLength += part.length;
        at += part.length;
        if (this.#headLength < 8) continue;
        this.#headLength = 0;
        this.#left = this.#head.readUInt32BE(4);
      }
    }
  }
}
