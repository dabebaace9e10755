/**
 * Whether anybody opened or closed a file, by inotify, asked for whenever it suits: nothing waits, no thread, no callback.
 * Node's own watcher cannot be asked for these events. Owns its descriptor.
 */
import { FileDescriptor } from "#kernel/fd.ts";
import { fail, libcFunction } from "#kernel/libc.ts";

/** sys/inotify.h */
const IN_CLOSE = 0x18;
const IN_CLOEXEC = 0o2000000;
const IN_NONBLOCK = 0o4000;

const cInit = libcFunction("int inotify_init1(int flags)");
const cAdd = libcFunction("int inotify_add_watch(int fd, const char *path, uint32_t mask)");
const cRead = libcFunction("int64_t read(int fd, void *buffer, size_t count)");

export class FileCloses implements Disposable {
  readonly #fd: FileDescriptor;
  readonly #buffer = Buffer.alloc(4096);

  /** Throws SyscallError where there is no such file. */
  constructor(path: string) {
    const fd = cInit(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0) fail("inotify_init1", []);
    this.#fd = new FileDescriptor(fd);
    if (cAdd(fd, path, IN_CLOSE) < 0) {
      try {
        fail("inotify_add_watch", [path]);
      } finally {
        this.#fd.close();
      }
    }
  }

  /** Has anybody who had it open closed it since this was asked last? */
  happened(): boolean {
    let any = false;
    // Whatever else a read tells than events is that there are none.
    while (cRead(this.#fd.number, this.#buffer, this.#buffer.length) > 0) any = true;
    return any;
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }
}
