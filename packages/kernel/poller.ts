/**
 * Waiting for many descriptors at once by epoll, for threads that do nothing but wait and serve (never the main thread,
 * whose event loop would stand still meanwhile).
 *
 * Owns its epoll descriptor and none of those it watches. Level-triggered: what a handler leaves is told again.
 */

import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { fail, lastErrno, libcFunction } from "#kernel/libc.ts";

/** linux/eventpoll.h */
export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;

/** `struct epoll_event` is packed on x64 and nowhere else. */
const eventSize = process.arch === "x64" ? 12 : 16;
const dataAt = eventSize - 8;
const eventsAtOnce = 64;

const cEpollCreate = libcFunction("int epoll_create1(int flags)");
const cEpollCtl = libcFunction("int epoll_ctl(int epfd, int operation, int fd, void *event)");
const cEpollWait = libcFunction("int epoll_wait(int epfd, void *events, int maximum, int timeout)");

/** Called with what the descriptor is ready for (EPOLL…). */
export type ReadyHandler = (events: number) => void;

/** One watched descriptor. */
export interface Watch {
  /** Watches for other events. */
  want(events: number): void;
  /** Watches no longer; to be called before the descriptor is closed. Idempotent. */
  end(): void;
}

export class Poller implements Disposable {
  readonly #fd = new FileDescriptor(checked("epoll_create1", cEpollCreate(EPOLL_CLOEXEC)));
  readonly #events = Buffer.alloc(eventSize * eventsAtOnce);
  readonly #event = Buffer.alloc(eventSize);
  readonly #handlers = new Map<number, ReadyHandler>();
  #next = 1;

  watch(fd: number, events: number, handler: ReadyHandler): Watch {
    // A new number each time: an event of a watch that has ended in the same round finds nobody.
    const key = this.#next++;
    this.#control(EPOLL_CTL_ADD, fd, events, key);
    this.#handlers.set(key, handler);
    return {
      want: (wanted) => this.#control(EPOLL_CTL_MOD, fd, wanted, key),
      end: () => {
        if (this.#handlers.delete(key)) this.#control(EPOLL_CTL_DEL, fd, 0, key);
      },
    };
  }

  #control(operation: number, fd: number, events: number, key: number): void {
    this.#event.writeUInt32LE(events, 0);
    this.#event.writeUInt32LE(key % 0x1_0000_0000, dataAt);
    this.#event.writeUInt32LE(Math.floor(key / 0x1_0000_0000), dataAt + 4);
    checked("epoll_ctl", cEpollCtl(this.#fd.number, operation, fd, this.#event));
  }

  /** Waits at most `timeout` ms (-1: for ever) and calls the handlers of what is ready. */
  poll(timeout: number): void {
    const count = cEpollWait(this.#fd.number, this.#events, eventsAtOnce, timeout);
    if (count < 0) {
      if (lastErrno() === ERRNO.EINTR) return;
      fail("epoll_wait", [this.#fd.number]);
    }
    for (let index = 0; index < count; index++) {
      const at = index * eventSize;
      const key =
        this.#events.readUInt32LE(at + dataAt) + this.#events.readUInt32LE(at + dataAt + 4) * 0x1_0000_0000;
      this.#handlers.get(key)?.(this.#events.readUInt32LE(at));
    }
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }
}

function checked(call: string, result: number): number {
  if (result < 0) fail(call, []);
  return result;
}
