/**
 * Notices that somebody changed rules: nf_tables counts its changes, and whoever uses the legacy variant of iptables
 * takes a lock file. Both are asked for in microseconds; what has changed, neither tells.
 */
import { FileCloses } from "#kernel/file-events.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { getGeneration, parseGeneration } from "#kernel/netlink/nftables-messages.ts";

/** What all legacy programs lock while they change rules. */
const LOCK_FILE = process.env.XTABLES_LOCKFILE ?? "/run/xtables.lock";

export class RuleSetWatch implements Disposable {
  #netlink: NetlinkSocket | undefined;
  #closes: FileCloses | undefined;
  #generation: number;
  #told = false;

  constructor() {
    try {
      this.#netlink = new NetlinkSocket(NETLINK_NETFILTER);
    } catch {
      // A kernel without nf_tables has the legacy rules alone.
    }
    this.#generation = this.#read();
    this.#lockFileChanged();
  }

  /** May rules have changed since this was asked last, but for changes that `own` was told of? */
  changed(): boolean {
    const generation = this.#read();
    const changed = this.#told || generation !== this.#generation;
    const legacy = this.#lockFileChanged();
    this.#generation = generation;
    this.#told = false;
    return changed || legacy;
  }

  /**
   * Runs a change of ours that makes `count` transactions, and takes these for known. What others change meanwhile makes
   * more of them, and is told.
   */
  async own<T>(count: number, work: () => Promise<T>): Promise<T> {
    const before = this.#read();
    if (before !== this.#generation || this.#lockFileChanged()) this.#told = true;
    try {
      return await work();
    } finally {
      const after = this.#read();
      if (after !== before && after !== before + count) this.#told = true;
      this.#generation = after;
      this.#lockFileChanged();
    }
  }

  #read(): number {
    try {
      const [answer] = this.#netlink?.ask(getGeneration()) ?? [];
      return answer === undefined ? 0 : parseGeneration(answer);
    } catch {
      return 0;
    }
  }

  /** The file comes to be with the first legacy program. */
  #lockFileChanged(): boolean {
    try {
      this.#closes ??= new FileCloses(LOCK_FILE);
      return this.#closes.happened();
    } catch {
      return false;
    }
  }

  [Symbol.dispose](): void {
    this.#netlink?.[Symbol.dispose]();
    this.#closes?.[Symbol.dispose]();
    this.#netlink = undefined;
    this.#closes = undefined;
  }
}
