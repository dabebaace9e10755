/**
 * Noticing that a client is gone which has said all it had to say: Node tells the end of its direction, and then nothing
 * until something is written to it, which for a silent container may be never.
 */
import type { Duplex } from "node:stream";
import { hasHungUp } from "#kernel/pipes.ts";

/** Between two looks, ms. */
const LOOK_MS = 1000;

/**
 * Destroys `client` once the other side has closed both directions; one that only listens is left alone. Over TCP that
 * cannot be told: keep-alive probes find those.
 */
export function destroyWhenGone(client: Duplex & { _handle?: { fd?: number } | null }): void {
  const look = () => {
    const fd = client._handle?.fd;
    // Of another kind than a bare socket, or closed.
    if (fd === undefined || fd < 0) stop();
    else if (hasHungUp(fd)) client.destroy();
  };
  let timer: NodeJS.Timeout | undefined;
  const stop = () => clearInterval(timer);
  client.once("end", () => {
    if (client.destroyed) return;
    timer = setInterval(look, LOOK_MS).unref();
    client.once("close", stop);
    look();
  });
}
