/**
 * How much a layer may unpack to: a small download must not fill the disk.
 */
import { BerthError } from "#errors/errors.ts";

export interface UnpackLimits {
  /** Bytes of a layer's uncompressed archive; 0 for no limit. */
  size: number;
  /** Times its compressed size, for layers above `ratioFrom`; 0 for no limit. */
  ratio: number;
}

/** Ordinary layers shrink to a third or a tenth; only runs of one byte go beyond this. */
export const defaultLimits: UnpackLimits = { size: 0, ratio: 200 };

/** Bytes up to which any ratio is fine: files of zeros exist, and this much does no harm. */
export const ratioFrom: number = 8 * 1024 ** 3;

/** Throws "too-large" once `unpacked` bytes, out of `packed`, are more than the limits allow. */
export function checkLimits({ size, ratio }: UnpackLimits, packed: number, unpacked: number): void {
  if (size > 0 && unpacked > size) {
    throw tooLarge(`layer unpacks to more than ${size} bytes`, "--max-layer-size");
  }
  if (ratio > 0 && unpacked > ratioFrom && unpacked > ratio * packed) {
    throw tooLarge(`layer unpacks to more than ${ratio} times its size`, "--max-layer-ratio");
  }
}

function tooLarge(reason: string, flag: string): BerthError {
  return new BerthError("too-large", reason, {
    operation: "unpack layer",
    hint: `It looks made to fill disks. If it can be trusted, start the daemon with a larger ${flag}.`,
  });
}
