/** The key sequence that leaves a container without ending it. */
import { Transform } from "node:stream";
import { BerthError } from "#errors/errors.ts";

const DEFAULT_KEYS = "ctrl-p,ctrl-q";
/** Characters; nobody types a sequence that comes near. */
const LONGEST_TEXT = 1024;

/** "ctrl-p,ctrl-q" → the bytes typed. Throws "invalid": `refusal`, in which Docker's texts for attach and exec differ. */
export function parseDetachKeys(text: string, refusal = "Invalid detach keys"): Buffer {
  if (text.length > LONGEST_TEXT) {
    throw new BerthError(
      "invalid",
      `${refusal} provided: ${text.length} characters, ${LONGEST_TEXT} at most`,
      {
        operation: "attach",
        object: `${text.slice(0, 32)}…`,
      },
    );
  }
  const bytes = (text || DEFAULT_KEYS).split(",").map((key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const control = /^ctrl-([a-z@[\]\\^_])$/i.exec(key)?.[1];
    // Control characters are the letters' codes with the upper bits cleared (ASCII).
    if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f;
    throw new BerthError("invalid", `${refusal} (${text}) provided`, {
      operation: "attach",
      object: key,
      hint: "give keys as letters or ctrl-letter, separated by commas",
    });
  });
  return Buffer.from(bytes);
}

/** Passes input through, calls `onDetach` (and ends) when the sequence was typed. */
export class DetachFilter extends Transform {
  readonly #keys: Buffer;
  readonly #onDetach: () => void;
  /** How many bytes of the sequence have been seen, and held back. */
  #matched = 0;

  constructor(keys: Buffer, onDetach: () => void) {
    super();
    this.#keys = keys;
    this.#onDetach = onDetach;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const out: number[] = [];
    for (const byte of chunk) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched++;
        if (this.#matched === this.#keys.length) {
          if (out.length > 0) this.push(Buffer.from(out));
          this.#onDetach();
          return;
        }
        continue;
      }
      // Not the sequence after all: what was held back is ordinary input.
      for (const held of this.#keys.subarray(0, this.#matched)) out.push(held);
      this.#matched = byte === this.#keys[0] ? 1 : 0;
      if (this.#matched === 0) out.push(byte);
    }
    if (out.length > 0) this.push(Buffer.from(out));
    done();
  }

  override _flush(done: () => void): void {
    if (this.#matched > 0) this.push(this.#keys.subarray(0, this.#matched));
    done();
  }
}
