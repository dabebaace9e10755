/** What volumes of the local driver may be called; the text for what they may not is Docker's. Pure. */
import { BerthError } from "#errors/errors.ts";

export const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** Bytes; a directory carries the name. */
const MAX_LENGTH = 255;

/** Throws "invalid". */
export function checkVolumeName(name: string): void {
  const refuse = (why: string) =>
    new BerthError("invalid", `create ${name}: ${why}`, { operation: "create volume", object: name });
  if (name.length === 1)
    throw refuse("volume name is too short, names should be at least two alphanumeric characters");
  if (!VOLUME_NAME.test(name)) {
    throw refuse(
      `"${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    );
  }
  if (name.length > MAX_LENGTH) throw refuse(`volume name is too long, ${MAX_LENGTH} bytes at most`);
}
