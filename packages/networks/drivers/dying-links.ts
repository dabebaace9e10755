/**
 * Which MAC addresses may still be a link's whose container has ended: the kernel takes namespaces apart in its own
 * time. One book for all networks, since several may lie on one link of the host's.
 */

/** Milliseconds a link may outlive its container by; far more than any does. */
const lingering = 10_000;

export class DyingLinks {
  readonly #until = new Map<string, number>();
  /** Until then it may be any: a daemon before this one knew. */
  #anyUntil = Date.now() + lingering;

  /** A container has given this address up; undefined for one that is not known. */
  left(mac: string | undefined): void {
    const now = Date.now();
    for (const [other, until] of this.#until) if (until < now) this.#until.delete(other);
    if (mac === undefined) this.#anyUntil = now + lingering;
    else this.#until.set(mac, now + lingering);
  }

  /** May a link have it still? */
  mayHave(mac: string): boolean {
    const now = Date.now();
    return now < this.#anyUntil || now < (this.#until.get(mac) ?? 0);
  }
}
