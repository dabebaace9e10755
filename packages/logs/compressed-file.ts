/**
 * Compressed log files: gzip, with the identity of the file it was made from in the header's extra field, so that
 * whoever was reading that file finds out where he is.
 */
import { closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { pipeline } from "node:stream/promises";
import { crc32, createDeflateRaw, createGunzip, constants as zlib } from "node:zlib";

/** RFC 1952: magic, deflate, FLG.FEXTRA, no time, no hints, Unix. */
const HEADER = Buffer.of(0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3);
/** The subfield with the identity: inode, birth. */
const SUBFIELD = Buffer.from("BL");
const IDENTITY_SIZE = 16;
const SUBFIELD_SIZE = 4 + IDENTITY_SIZE;
const HEADER_SIZE = HEADER.length + 2 + SUBFIELD_SIZE;
/** linux/fcntl.h: a file without name, which is a directory's flag and one more. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/** Compresses everything `from` has into `to`, from its beginning. */
export async function compress(from: FileHandle, to: FileHandle): Promise<void> {
  const { ino, birthtimeNs } = await from.stat({ bigint: true });
  const extra = Buffer.alloc(2 + SUBFIELD_SIZE);
  extra.writeUInt16LE(SUBFIELD_SIZE, 0);
  SUBFIELD.copy(extra, 2);
  extra.writeUInt16LE(IDENTITY_SIZE, 4);
  extra.writeBigUInt64LE(ino, 6);
  extra.writeBigInt64LE(birthtimeNs, 14);
  // `write` would take a part and be content, on a disk that is nearly full.
  await to.writeFile(Buffer.concat([HEADER, extra]));
  let sum = 0;
  let size = 0;
  await pipeline(
    from.createReadStream({ autoClose: false, start: 0 }),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        sum = crc32(chunk, sum);
        size += chunk.length;
        yield chunk;
      }
    },
    createDeflateRaw(),
    async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) await to.writeFile(chunk);
    },
  );
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(sum, 0);
  trailer.writeUInt32LE(size >>> 0, 4);
  await to.writeFile(trailer);
}

/** What a file is known by: inodes are used again, but not for files born at the same moment. */
export function identityOf({ ino, birthtimeNs }: { ino: bigint; birthtimeNs: bigint }): string {
  return `${ino}.${birthtimeNs}`;
}

/** Identity of the file this one was compressed from; undefined if somebody else compressed it. */
export async function originalIdentity(file: FileHandle): Promise<string | undefined> {
  const header = Buffer.alloc(HEADER_SIZE);
  const { bytesRead } = await file.read(header, 0, HEADER_SIZE, 0);
  return identityIn(header.subarray(0, bytesRead));
}

/** Identity of the file at this path, or of the one it was compressed from, at once: for who has the lock. */
export function identityAt(path: string, compressed: boolean): string | undefined {
  if (!compressed) {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    return found === undefined ? undefined : identityOf(found);
  }
  const fd = openSync(path, "r");
  try {
    const header = Buffer.alloc(HEADER_SIZE);
    return identityIn(header.subarray(0, readSync(fd, header, 0, HEADER_SIZE, 0)));
  } finally {
    closeSync(fd);
  }
}

function identityIn(header: Buffer): string | undefined {
  const ours =
    header.length === HEADER_SIZE && (header[3] as number) & 4 && SUBFIELD.equals(header.subarray(12, 14));
  return ours
    ? identityOf({ ino: header.readBigUInt64LE(16), birthtimeNs: header.readBigInt64LE(24) })
    : undefined;
}

/**
 * What a compressed file holds, in a file without name near it that can be read anywhere. Of a damaged one that is what comes
 * before the damage.
 */
export async function decompress(file: FileHandle, directory: string): Promise<FileHandle> {
  const flags = O_TMPFILE | constants.O_RDWR;
  const target = await open(directory, flags, 0o600).catch(() => open(tmpdir(), flags, 0o600));
  try {
    await pipeline(
      file.createReadStream({ autoClose: false, start: 0 }),
      createGunzip({ finishFlush: zlib.Z_SYNC_FLUSH }),
      async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) await target.writeFile(chunk);
      },
    );
    return target;
  } catch (error) {
    // Of zlib's: the bytes make no sense from here on. The file system's are another matter.
    if (String((error as NodeJS.ErrnoException).code).startsWith("Z_")) return target;
    await target.close();
    throw error;
  }
}
