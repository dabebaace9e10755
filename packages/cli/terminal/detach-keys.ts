/**
 * Finds the key sequence that leaves a container without ending it (ctrl-p ctrl-q unless told otherwise) in what is
 * typed. Keys that begin the sequence are held back until it is clear that they do not complete it.
 */

/** Bytes of "ctrl-p,ctrl-q" or "a,ctrl-b". Throws Error for what is no key. */
export function parseDetachKeys(text: string): Buffer {
  return Buffer.from((text === "" ? "ctrl-p,ctrl-q" : text).split(",").map(keyByte));
}

function keyByte(key: string): number {
  if (key.length === 1) return key.charCodeAt(0);
  const control = /^ctrl-([a-z@[\\\]^_])$/.exec(key.toLowerCase())?.[1];
  if (control === undefined) throw new Error(`Unknown character: '${key}'`);
  // The control characters are the letters' codes without their upper bits.
  return control.toUpperCase().charCodeAt(0) & 0x1f;
}

export class DetachScanner {
  readonly #keys: Buffer;
  #matched = 0;

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  /** What may go on, and whether the sequence is complete (then nothing after it goes on). */
  push(input: Buffer): { output: Buffer; detached: boolean } {
    const output: number[] = [];
    for (const byte of input) {
      if (byte !== this.#keys[this.#matched]) {
        output.push(...this.#keys.subarray(0, this.#matched));
        this.#matched = 0;
      }
      if (byte === this.#keys[this.#matched]) this.#matched++;
      else output.push(byte);
      if (this.#matched === this.#keys.length) return { output: Buffer.from(output), detached: true };
    }
    return { output: Buffer.from(output), detached: false };
  }
}
