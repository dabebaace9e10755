/** A file of the user's as a stream, found to be readable before anything is sent. */
import { open } from "node:fs/promises";
import type { Readable } from "node:stream";

/** Throws Error with the text users know ("open x: no such file or directory"). */
export async function openInput(path: string): Promise<Readable> {
  try {
    return (await open(path)).createReadStream();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(`open ${path}: ${code === "ENOENT" ? "no such file or directory" : message}`);
  }
}
