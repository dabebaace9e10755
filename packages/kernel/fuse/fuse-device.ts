/**
 * The kernel's side of one FUSE mount: /dev/fuse, opened and mounted. Closing the last descriptor ends the mount: everybody
 * who waits for an answer, or asks later, gets ENOTCONN.
 */
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  FUSE_DEV_IOC_BACKING_CLOSE,
  FUSE_DEV_IOC_BACKING_OPEN,
  NOTIFY,
  SIZE,
} from "#kernel/fuse/fuse-protocol.ts";
import { FuseReply } from "#kernel/fuse/fuse-reply.ts";
import { quickIoctl, quickRead, quickWrite } from "#kernel/fuse/quick-calls.ts";
import { mount } from "#kernel/mount-syscalls.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { O_NONBLOCK, O_RDWR, open } from "#kernel/syscalls.ts";

export interface FuseMountOptions {
  /** What `mount` shows as the source, and behind "fuse.". */
  source: string;
  subtype: string;
  /** Type bits of the root, S_IFDIR. */
  rootMode: number;
  /** Bytes of one read; a multiple of the page size. */
  maxRead: number;
  /** MS_…: MS_RDONLY. */
  flags: number;
}

/** One after the other: the thread serves nothing else meanwhile. */
const notices = new FuseReply(SIZE.STORE_OUT + 128 * 1024);

export class FuseDevice implements Disposable {
  readonly #fd: FileDescriptor;
  readonly #backing = Buffer.alloc(16);

  private constructor(fd: FileDescriptor) {
    this.#fd = fd;
  }

  /** Opens a device that is not mounted yet. Throws where the kernel has no FUSE: ENOENT, ENODEV. */
  static open(): FuseDevice {
    return new FuseDevice(new FileDescriptor(open("/dev/fuse", O_RDWR | O_NONBLOCK)));
  }

  /** One that another thread of this process, or another process, has opened. */
  static adopt(fd: number): FuseDevice {
    return new FuseDevice(new FileDescriptor(fd));
  }

  /** The descriptor passes to the caller. */
  release(): number {
    return this.#fd.release();
  }

  /** Mounts it. The kernel then sends INIT, which somebody has to answer before anything else happens. */
  mount(mountPoint: string, { source, subtype, rootMode, maxRead, flags }: FuseMountOptions): void {
    const data = [
      `fd=${this.number}`,
      `rootmode=${rootMode.toString(8)}`,
      "user_id=0",
      "group_id=0",
      "default_permissions",
      "allow_other",
      `max_read=${maxRead}`,
    ].join(",");
    mount(source, mountPoint, `fuse.${subtype}`, flags, data);
  }

  /** For polling. */
  get number(): number {
    return this.#fd.number;
  }

  /**
   * The next request, into `out`: its length, 0 if there is none now, -ENODEV when the mount is gone. A request that was
   * taken back meanwhile is none.
   */
  read(out: Buffer): number {
    const length = quickRead(this.#fd.number, out, out.length);
    if (length >= 0) return length;
    if (length === -ERRNO.EAGAIN || length === -ERRNO.EINTR || length === -ERRNO.ENOENT) return 0;
    return length;
  }

  /** Answers; -ENOENT says that nobody waits for it any more. */
  write(answer: Buffer, length: number): number {
    return quickWrite(this.#fd.number, answer, length);
  }

  /** Lets the kernel read and write this open file by itself, under the number that is answered (negative: it won't). */
  openBacking(file: number): number {
    this.#backing.fill(0);
    this.#backing.writeInt32LE(file, 0);
    return quickIoctl(this.#fd.number, FUSE_DEV_IOC_BACKING_OPEN, this.#backing);
  }

  /**
   * Puts the beginning of a file into the kernel's memory, before it asks: as many bytes as `fill` answers that it has
   * written. Only for a file that nobody reads at this moment: who does waits for us, and this would wait for him.
   */
  store(node: number, length: number, fill: (out: Buffer) => number): void {
    const size = fill(notices.data(SIZE.STORE_OUT, length));
    if (size <= 0) return;
    notices.u64(0, node);
    notices.u64(8, 0);
    notices.u32(16, size);
    notices.u32(20, 0);
    this.write(notices.buffer, notices.finishNotice(NOTIFY.STORE, SIZE.STORE_OUT + size));
  }

  closeBacking(number: number): void {
    this.#backing.writeInt32LE(number, 0);
    const result = quickIoctl(this.#fd.number, FUSE_DEV_IOC_BACKING_CLOSE, this.#backing);
    if (result < 0 && result !== -ERRNO.ENOENT) throw new SyscallError("ioctl", -result, ["BACKING_CLOSE"]);
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }
}
