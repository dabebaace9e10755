/** What the benchmark is asked for. Pure. */

export const PARTS = [
  "daemons",
  "containers",
  "inside",
  "logs",
  "parallel",
  "running",
  "networks",
  "images",
  "runtimes",
  "drivers",
  "stages",
  "many",
] as const;

export type Part = (typeof PARTS)[number];

export interface Options {
  parts: ReadonlySet<string>;
  installPeers: boolean;
  /** Berth and the floors alone. */
  withoutPeers: boolean;
}

const FLAGS = ["--install-peers", "--without-peers"];

/** From the command line's words; a text says what is wrong with them. Without parts all of them. */
export function parseOptions(words: readonly string[]): Options | string {
  const flags = words.filter((word) => word.startsWith("--"));
  const parts = words.filter((word) => !word.startsWith("--"));
  const known: readonly string[] = PARTS;
  const strange = [
    ...flags.filter((flag) => !FLAGS.includes(flag)),
    ...parts.filter((part) => !known.includes(part)),
  ];
  if (strange.length > 0)
    return `${strange.join(", ")}: give ${FLAGS.join(", ")}, or some of ${PARTS.join(", ")}`;
  return {
    parts: new Set(parts.length > 0 ? parts : PARTS),
    installPeers: flags.includes("--install-peers"),
    withoutPeers: flags.includes("--without-peers"),
  };
}
