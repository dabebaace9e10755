/**
 * Copying the content of files inside the kernel: by reference where the file system shares blocks (btrfs, xfs), else
 * without a way through user space.
 */
import { ERRNO } from "#kernel/errno.ts";
import { fail, lastErrno, libcFunction } from "#kernel/libc.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { ftruncate, lseek, pread, SEEK_DATA, SEEK_HOLE, SEEK_SET, writeAll } from "#kernel/syscalls.ts";

const cCopyFileRange = libcFunction(
  "int64_t copy_file_range(int from, void *fromOffset, int to, void *toOffset, size_t length, unsigned int flags)",
);

/** Largest piece of one call: between two, a worker can see that it is to stop. */
const longestPiece = 256 * 1024 * 1024;
/** Where the kernel cannot: read and written in pieces of this size. */
const bufferSize = 256 * 1024;

/** What says that these two files cannot be copied by the kernel. */
const cannot: readonly number[] = [ERRNO.EXDEV, ERRNO.EINVAL, ERRNO.ENOSYS, ERRNO.EOPNOTSUPP, ERRNO.EPERM];

/**
 * Copies the whole content of `from`, `size` bytes, into the empty file `to`; both offsets move. Holes stay holes if
 * `sparse`. `aborted` is asked between pieces and throws to stop.
 */
export function copyContent(
  from: number,
  to: number,
  size: number,
  sparse: boolean,
  aborted: () => void = () => {},
): void {
  if (!sparse) {
    copyRange(from, to, 0, size, aborted);
    return;
  }
  let at = 0;
  while (at < size) {
    const start = nextData(from, at);
    if (start === undefined || start >= size) break;
    const end = Math.min(size, lseek(from, start, SEEK_HOLE));
    lseek(from, start, SEEK_SET);
    lseek(to, start, SEEK_SET);
    copyRange(from, to, start, end - start, aborted);
    at = end;
  }
  ftruncate(to, size);
}

/** Offset of the next data at or after `at`; undefined if only a hole is left. */
function nextData(fd: number, at: number): number | undefined {
  try {
    return lseek(fd, at, SEEK_DATA);
  } catch (error) {
    if (error instanceof SyscallError && error.errno === ERRNO.ENXIO) return undefined;
    throw error;
  }
}

/** Copies `length` bytes between the descriptors' own offsets, which both are `at`. */
function copyRange(from: number, to: number, at: number, length: number, aborted: () => void): void {
  let done = 0;
  while (done < length) {
    if (done > 0) aborted();
    const copied = cCopyFileRange(from, null, to, null, Math.min(length - done, longestPiece), 0);
    if (copied > 0) {
      done += copied;
      continue;
    }
    // The file is shorter than it was.
    if (copied === 0) return;
    const errno = lastErrno();
    if (errno === ERRNO.EINTR) continue;
    if (!cannot.includes(errno)) fail("copy_file_range", [from, to, length - done]);
    copyByHand(from, to, at + done, length - done);
    return;
  }
}

function copyByHand(from: number, to: number, at: number, length: number): void {
  const buffer = Buffer.allocUnsafe(Math.min(bufferSize, length));
  let done = 0;
  while (done < length) {
    const got = pread(from, buffer.subarray(0, Math.min(buffer.length, length - done)), at + done);
    if (got === 0) return;
    writeAll(to, buffer.subarray(0, got));
    done += got;
  }
}
