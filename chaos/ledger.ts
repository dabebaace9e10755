/**
 * What the clients asked for and what they were told: the other account of what must be there.
 *
 * An answer makes a fact. A request without an answer (the daemon died, the disk was full) leaves the thing in doubt
 * until somebody has looked; what was seen then is a fact from there on. A thing that a request is under way for is
 * nobody else's.
 */

export type Life = "created" | "running" | "told to end" | "ended";

export interface ChaosContainer {
  name: string;
  /** "" until an answer named it. */
  id: string;
  life: Life;
  /** It prints so many numbered lines, then ends with the code. */
  lines: number;
  code: number;
  /** Process and start as seen first; other ones later mean it was started twice. */
  process?: { pid: number; startedAt: string };
  doubt: boolean;
  busy: boolean;
  /** The disk was full while it ran: lines could not be written. */
  lostLines: boolean;
  /** It was restarted: its log has two beginnings. */
  begunTwice: boolean;
}

export interface ChaosThing {
  name: string;
  doubt: boolean;
  busy: boolean;
}

export type ThingKind = "image" | "volume" | "network";

export class Ledger {
  readonly containers = new Map<string, ChaosContainer>();
  readonly things: Record<ThingKind, Map<string, ChaosThing>> = {
    image: new Map(),
    volume: new Map(),
    network: new Map(),
  };
  #next = 0;

  newName(kind: string): string {
    this.#next++;
    return `${kind}${this.#next}`;
  }

  /** Those that nothing is under way for and whose state is known. */
  free(...lives: Life[]): ChaosContainer[] {
    return [...this.containers.values()].filter(
      (one) => !one.busy && !one.doubt && (lives.length === 0 || lives.includes(one.life)),
    );
  }

  freeThings(kind: ThingKind): ChaosThing[] {
    return [...this.things[kind].values()].filter((thing) => !thing.busy && !thing.doubt);
  }
}
