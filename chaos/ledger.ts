/**
 * What the clients asked for and what they were told: the other account of what must be there.
 *
 * An answer makes a fact. A request without an answer (the daemon died, the disk was full) leaves the thing in doubt
 * until somebody has looked; what was seen then is a fact from there on. A thing that a request is under way for is
 * nobody else's.
 */

export type Life = "created" | "running" | "told to end" | "ended";

/**
 * counting: prints numbered lines, then ends. crashing: prints one line, fails, and is started again by its policy, as
 * often as it has lines. step: does one thing and ends, for a commit.
 */
export type Kind = "counting" | "crashing" | "step";

export interface ChaosContainer {
  name: string;
  /** "" until an answer named it. */
  id: string;
  kind: Kind;
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
  /** A fault met it that a start cannot get past: a policy may have given up. */
  hindered: boolean;
  /** It goes by itself when it ends. */
  autoRemove: boolean;
  /** It answers on port 80 with its host name, and the port is published. */
  serves: boolean;
  /** Its links may have been deleted: nobody wires it anew before its next start. */
  cutOff: boolean;
  /** Its shim was killed: it must have ended. */
  mustEnd: boolean;
  healthcheck: boolean;
  /** Exit codes that `wait` told. */
  told: number[];
  /** Files copied into it, by path. */
  files: Map<string, string>;
  /** What `update` said yes to. */
  limits: { pids: number; memory: number } | undefined;
  /** How often the daemon had come to its end when this began. */
  begunAt: number;
  /** In which round it was started last. */
  begunIn: number;
}

export interface ChaosThing {
  name: string;
  doubt: boolean;
  busy: boolean;
  /** Of a volume: what its file says. Of an image: what a file of each step says. */
  stamp?: string;
}

export type ThingKind = "image" | "volume" | "network";

export class Ledger {
  readonly containers = new Map<string, ChaosContainer>();
  readonly things: Record<ThingKind, Map<string, ChaosThing>> = {
    image: new Map(),
    volume: new Map(),
    network: new Map(),
  };
  /** Repositories in the registry, with tag 1, that a client pushed. */
  readonly pushed: string[] = [];
  /** How often the daemon came to its end. */
  daemonEnds = 0;
  round = 0;
  #next = 0;

  newName(kind: string): string {
    this.#next++;
    return `${kind}${this.#next}`;
  }

  /** Plans a container; it is busy until it is told otherwise. */
  plan(container: Pick<ChaosContainer, "kind" | "lines" | "code"> & Partial<ChaosContainer>): ChaosContainer {
    const planned: ChaosContainer = {
      name: this.newName("c"),
      id: "",
      life: "created",
      doubt: false,
      busy: true,
      lostLines: false,
      begunTwice: false,
      hindered: false,
      autoRemove: false,
      serves: false,
      cutOff: false,
      mustEnd: false,
      healthcheck: false,
      told: [],
      files: new Map(),
      limits: undefined,
      begunAt: this.daemonEnds,
      begunIn: this.round,
      ...container,
    };
    this.containers.set(planned.name, planned);
    return planned;
  }

  /** Those that nothing is under way for and whose state is known. */
  free(...lives: Life[]): ChaosContainer[] {
    return [...this.containers.values()].filter(
      (one) => !one.busy && !one.doubt && !one.autoRemove && (lives.length === 0 || lives.includes(one.life)),
    );
  }

  freeThings(kind: ThingKind): ChaosThing[] {
    return [...this.things[kind].values()].filter((thing) => !thing.busy && !thing.doubt);
  }
}
