/** Messages to a unix datagram socket, which Node has no module for. */
import { closeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  AF_UNIX,
  connect,
  encodeUnixAddress,
  MSG_DONTWAIT,
  SO_SNDBUF,
  SOCK_DGRAM,
  SOL_SOCKET,
  sendto,
  setsockopt,
  socket,
} from "#kernel/socket-syscalls.ts";

/** The other side's queue is full: look again so soon, ms, and give up after so many looks. */
const PAUSE = 5;
const LOOKS = 2000;
const BUFFER = 1 << 20;

export class UnixDatagrams {
  readonly #path: string;
  #fd: number | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async send(message: Uint8Array, signal: AbortSignal): Promise<void> {
    await this.#attempt(signal, (fd) => sendto(fd, message, MSG_DONTWAIT));
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  async #attempt(signal: AbortSignal, send: (fd: number) => void): Promise<void> {
    for (let look = 0; ; look++) {
      try {
        this.#fd ??= this.#open();
        send(this.#fd);
        return;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        // No other attempt makes it shorter.
        if (code === "EMSGSIZE") return;
        if (code !== "EAGAIN" || look === LOOKS) {
          this.close();
          throw error;
        }
      }
      await sleep(PAUSE, undefined, { signal });
    }
  }

  #open(): number {
    const fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    try {
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, BUFFER);
      connect(fd, encodeUnixAddress(this.#path));
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }
}
