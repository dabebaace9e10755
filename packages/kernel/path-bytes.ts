/**
 * File names between JavaScript strings and the kernel's bytes, without loss.
 *
 * Names are UTF-8 almost always, but need not be. A byte that is no part of valid UTF-8 becomes the lone surrogate
 * U+DC80…U+DCFF (0xDC00 + byte), which no valid name can contain, and becomes that byte again on the way back.
 */
import { ERRNO } from "#kernel/errno.ts";
import { SyscallError } from "#kernel/syscall-error.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decodes a name (without its NUL). Never fails; `encodePath` gives the same bytes back. */
export function decodePath(bytes: Uint8Array): string {
  let ascii = true;
  for (let i = 0; i < bytes.length; i++) {
    if ((bytes[i] as number) >= 0x80) {
      ascii = false;
      break;
    }
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (ascii) return buffer.toString("latin1");
  try {
    return strict.decode(bytes);
  } catch {
    // Not UTF-8: taken apart below.
  }
  let text = "";
  let at = 0;
  while (at < bytes.length) {
    const length = sequenceLength(bytes, at);
    if (length === 0) {
      text += String.fromCharCode(0xdc00 + (bytes[at] as number));
      at += 1;
    } else {
      text += buffer.toString("utf8", at, at + length);
      at += length;
    }
  }
  return text;
}

/** Length of the valid UTF-8 sequence at `at`, or 0. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] as number;
  const length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (length === 0 || at + length > bytes.length) return 0;
  try {
    strict.decode(bytes.subarray(at, at + length));
    return length;
  } catch {
    return 0;
  }
}

/** Bytes of a name, without a NUL. */
export function pathBytes(path: string): Buffer {
  if (path.isWellFormed()) return Buffer.from(path, "utf8");
  const parts: Buffer[] = [];
  let plain = "";
  for (const character of path) {
    const code = character.charCodeAt(0);
    if (character.length === 1 && code >= 0xdc80 && code <= 0xdcff) {
      parts.push(Buffer.from(plain, "utf8"), Buffer.from([code - 0xdc00]));
      plain = "";
    } else {
      plain += character;
    }
  }
  parts.push(Buffer.from(plain, "utf8"));
  return Buffer.concat(parts);
}

/**
 * The form a system call takes: the string itself where that is enough, else bytes ending in NUL. A name with a NUL in
 * it would be cut short silently by the kernel and is refused with EINVAL.
 */
export function encodePath(path: string): string | Buffer {
  if (path.includes("\0")) throw new SyscallError("path", ERRNO.EINVAL, [path.replaceAll("\0", "\\0")]);
  if (path.isWellFormed()) return path;
  return Buffer.concat([pathBytes(path), Buffer.alloc(1)]);
}
