/**
 * A descriptor that a worker thread writes a stream of bytes to: a pipe, or a client's connection itself. Small pieces
 * are gathered; on a connection with HTTP's chunked encoding every write is a chunk.
 *
 * Blocks its thread while the other side is slow; looks now and then whether it is still wanted. Does not own the
 * descriptor, and doesn't end the chunked body: who wrote the head does.
 */
import { type Aborted, ClientPace } from "#kernel/client-pace.ts";
import { ERRNO } from "#kernel/errno.ts";
import { awaitReady } from "#kernel/pipes.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { write } from "#kernel/syscalls.ts";

export type Framing = "plain" | "http-chunks";

/** Bytes gathered at most. */
const capacity = 256 * 1024;
/** Room for a chunk's length in hex and CRLF before, CRLF behind. */
const head = 16;
const tail = 2;
/** Milliseconds between two looks whether somebody still wants it. */
const patience = 250;

export class DescriptorOutput {
  readonly #fd: number;
  readonly #chunks: boolean;
  readonly #pace: ClientPace;
  readonly #buffer = Buffer.allocUnsafe(head + capacity + tail);
  #length = 0;
  /** Bytes given to it so far. */
  total = 0;

  constructor(fd: number, framing: Framing, aborted: Aborted) {
    this.#fd = fd;
    this.#chunks = framing === "http-chunks";
    this.#pace = new ClientPace(aborted);
  }

  /** Throws an AbortError when nobody wants it any more, or the other side is gone. */
  write(bytes: Buffer): void {
    this.total += bytes.length;
    let taken = 0;
    while (taken < bytes.length) {
      const part = Math.min(bytes.length - taken, capacity - this.#length);
      bytes.copy(this.#buffer, head + this.#length, taken, taken + part);
      this.#length += part;
      taken += part;
      if (this.#length === capacity) this.flush();
    }
  }

  /** Sends what was gathered. */
  flush(): void {
    if (this.#length === 0) return;
    let start = head;
    let end = head + this.#length;
    if (this.#chunks) {
      const prefix = `${this.#length.toString(16)}\r\n`;
      start -= prefix.length;
      this.#buffer.write(prefix, start, "latin1");
      end += this.#buffer.write("\r\n", end, "latin1");
    }
    this.#send(this.#buffer.subarray(start, end));
    this.#length = 0;
  }

  #send(bytes: Buffer): void {
    let sent = 0;
    if (this.#pace.moved(0)) throw gone();
    while (sent < bytes.length) {
      try {
        const length = write(this.#fd, bytes.subarray(sent));
        sent += length;
        if (this.#pace.moved(length)) throw gone();
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error;
        if (error.errno === ERRNO.EPIPE || error.errno === ERRNO.ECONNRESET) throw gone();
        if (error.errno !== ERRNO.EAGAIN) throw error;
        const began = performance.now();
        awaitReady(this.#fd, "write", patience);
        if (this.#pace.waited(performance.now() - began)) throw gone();
      }
    }
  }
}

function gone(): DOMException {
  return new DOMException("nobody wants these bytes any more", "AbortError");
}
