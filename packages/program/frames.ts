/**
 * Control frames, both ways, and the first bytes of a connection (README.md, section 5). Pure.
 *
 * The parser takes bytes in whatever pieces they come and keeps at most one frame of them; what isn't a frame of the
 * protocol is an error, since a stream of frames that has lost its place cannot find it again.
 */
import { BerthError } from "#errors/errors.ts";
import type { AttachStreams } from "#program/launcher-client.types.ts";

/** What a shim says. */
export type ShimFrame =
  | { kind: "refused"; errno: number; offset: number }
  | { kind: "failed"; instruction: number; errno: number }
  | { kind: "note"; note: number; value: bigint }
  /** `status` as from wait4; `at` in nanoseconds since the epoch. */
  | { kind: "exit"; status: number; at: bigint };

/** What a shim is told. */
export type DaemonFrame =
  | { kind: "signal"; signal: number }
  | { kind: "resize"; rows: number; columns: number }
  | { kind: "close-stdin" }
  /** A copy of the daemon's descriptor `fd`, for the daemons to come, under a number of 200 to 207. */
  | { kind: "keep"; fd: number; number: number };

export const NOTE = { LISTENING: 1, CREATED: 2, STARTED: 3, ROTATED: 100 } as const;

const KIND = {
  REFUSED: 1,
  FAILED: 2,
  NOTE: 3,
  EXIT: 4,
  SIGNAL: 16,
  RESIZE: 17,
  CLOSE_STDIN: 18,
  KEEP: 19,
} as const;
const HEADER_SIZE = 8;
const PAYLOAD_SIZE: Readonly<Record<number, number>> = {
  [KIND.REFUSED]: 8,
  [KIND.FAILED]: 8,
  [KIND.NOTE]: 12,
  [KIND.EXIT]: 16,
};
const MAX_FRAME = HEADER_SIZE + 16;
const HELLO_SIZE = 8;
const NANOSECONDS = 1_000_000_000n;

/** First bytes of a control connection. */
export function controlHello(): Uint8Array {
  const hello = new Uint8Array(HELLO_SIZE);
  hello[0] = "C".charCodeAt(0);
  return hello;
}

/** First bytes of an attach connection. */
export function attachHello(streams: AttachStreams): Uint8Array {
  const hello = new Uint8Array(HELLO_SIZE);
  hello[0] = "A".charCodeAt(0);
  hello[1] = (streams.stdin ? 1 : 0) | (streams.stdout ? 2 : 0) | (streams.stderr ? 4 : 0);
  return hello;
}

/** A frame as bytes. */
export function encodeFrame(frame: ShimFrame | DaemonFrame): Uint8Array {
  switch (frame.kind) {
    case "refused":
      return build(KIND.REFUSED, 8, (payload) => {
        payload.setUint32(0, frame.errno, true);
        payload.setUint32(4, frame.offset, true);
      });
    case "failed":
      return build(KIND.FAILED, 8, (payload) => {
        payload.setUint32(0, frame.instruction, true);
        payload.setUint32(4, frame.errno, true);
      });
    case "note":
      return build(KIND.NOTE, 12, (payload) => {
        payload.setUint32(0, frame.note, true);
        payload.setBigInt64(4, frame.value, true);
      });
    case "exit":
      return build(KIND.EXIT, 16, (payload) => {
        payload.setInt32(0, frame.status, true);
        payload.setUint32(4, Number(frame.at % NANOSECONDS), true);
        payload.setBigInt64(8, frame.at / NANOSECONDS, true);
      });
    case "signal":
      return build(KIND.SIGNAL, 4, (payload) => payload.setUint32(0, frame.signal, true));
    case "resize":
      return build(KIND.RESIZE, 4, (payload) => {
        payload.setUint16(0, frame.rows, true);
        payload.setUint16(2, frame.columns, true);
      });
    case "close-stdin":
      return build(KIND.CLOSE_STDIN, 0, () => undefined);
    case "keep":
      return build(KIND.KEEP, 8, (payload) => {
        payload.setUint32(0, frame.fd, true);
        payload.setUint32(4, frame.number, true);
      });
  }
}

function build(kind: number, length: number, fill: (payload: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, kind, true);
  view.setUint32(4, length, true);
  fill(new DataView(bytes.buffer, HEADER_SIZE));
  return bytes;
}

/** Makes frames of a shim's bytes. After it has thrown it is of no more use. */
export class FrameParser {
  readonly #bytes = new Uint8Array(MAX_FRAME);
  readonly #view = new DataView(this.#bytes.buffer);
  #have = 0;

  /** The frames that these bytes complete, in order. Throws "invalid" for bytes that are no frame. */
  push(chunk: Uint8Array): ShimFrame[] {
    const frames: ShimFrame[] = [];
    let at = 0;
    while (at < chunk.length) {
      const wanted = this.#have < HEADER_SIZE ? HEADER_SIZE : HEADER_SIZE + this.#payloadSize();
      const piece = chunk.subarray(at, at + wanted - this.#have);
      this.#bytes.set(piece, this.#have);
      this.#have += piece.length;
      at += piece.length;
      if (this.#have >= HEADER_SIZE && this.#have === HEADER_SIZE + this.#payloadSize()) {
        frames.push(this.#decode());
        this.#have = 0;
      }
    }
    return frames;
  }

  /** Has a frame begun whose end has not come? */
  get incomplete(): boolean {
    return this.#have > 0;
  }

  #payloadSize(): number {
    const kind = this.#view.getUint32(0, true);
    const length = this.#view.getUint32(4, true);
    if (PAYLOAD_SIZE[kind] !== length) {
      throw new BerthError(
        "invalid",
        `a frame of kind ${kind} with ${length} bytes is not of the launcher's protocol`,
        {
          operation: "read from shim",
        },
      );
    }
    return length;
  }

  #decode(): ShimFrame {
    const payload = new DataView(this.#bytes.buffer, HEADER_SIZE);
    switch (this.#view.getUint32(0, true)) {
      case KIND.REFUSED:
        return { kind: "refused", errno: payload.getUint32(0, true), offset: payload.getUint32(4, true) };
      case KIND.FAILED:
        return { kind: "failed", instruction: payload.getUint32(0, true), errno: payload.getUint32(4, true) };
      case KIND.NOTE:
        return { kind: "note", note: payload.getUint32(0, true), value: payload.getBigInt64(4, true) };
      default:
        return {
          kind: "exit",
          status: payload.getInt32(0, true),
          at: payload.getBigInt64(8, true) * NANOSECONDS + BigInt(payload.getUint32(4, true)),
        };
    }
  }
}
