/**
 * Seeds that have found something, each with the fault that it takes. A test replays them (test/chaos/kept-seeds.test.ts):
 * a seed decides what is asked and when the fault comes, not what meets what, so that a replay is a good chance and no
 * proof; what was found has a test of its own besides.
 */
export interface KeptSeed {
  seed: number;
  fault: string;
  /** How many times the fault happens. */
  rounds: number;
  /** What it found. */
  found: string;
}

export const KEPT_SEEDS: readonly KeptSeed[] = [
  {
    seed: 1,
    fault: "clone fails",
    rounds: 1,
    found: "the daemon came to its end when no thread could be had for unpacking",
  },
  {
    seed: 2,
    fault: "no descriptors",
    rounds: 1,
    found: "an end was not told when the kernel's count of memory kills could not be read",
  },
  {
    seed: 2,
    fault: "frozen and killed",
    rounds: 2,
    found: "a command with input went on for ever when its daemon was killed before its client was attached",
  },
  {
    seed: 3,
    fault: "killed while it starts",
    rounds: 2,
    found: "a restart that was waited for was lost, or an end was counted twice",
  },
  {
    seed: 101,
    fault: "fsync fails",
    rounds: 1,
    found:
      "a network whose removal could not be stored came back with the next daemon, or had the endpoint of a container that ended while it joined",
  },
  {
    seed: 1,
    fault: "rename fails",
    rounds: 2,
    found: "a log whose shim could put no new file in its place was compressed while it was written to",
  },
  {
    seed: 1,
    fault: "disk full and killed",
    rounds: 2,
    found: "a volume whose removal could not be stored came back with the next daemon",
  },
];
