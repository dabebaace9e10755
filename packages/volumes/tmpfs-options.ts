/** The options of `--mount type=tmpfs` as the words that tmpfs takes. Pure; the error texts are Docker's. */
import type { MountRequest } from "#api-types/container.ts";

type TmpfsOptions = NonNullable<MountRequest["TmpfsOptions"]>;

const WORDS = ["exec", "noexec"];
const UNITS: readonly (readonly [suffix: string, bytes: number])[] = [
  ["g", 1 << 30],
  ["m", 1 << 20],
  ["k", 1 << 10],
];

/** "mode=1777,size=64m". How large it may be at all is the kernel's to say. */
export function tmpfsOptions(
  { SizeBytes = 0, Mode = 0, Options = [] }: TmpfsOptions,
  refuse: (why: string) => Error,
): string {
  const words: string[] = [];
  if (Mode !== 0) words.push(`mode=${Mode.toString(8)}`);
  if (SizeBytes !== 0) {
    const [suffix, bytes] = UNITS.find(([, unit]) => SizeBytes % unit === 0) ?? ["", 1];
    words.push(`size=${SizeBytes / bytes}${suffix}`);
  }
  for (const option of Options ?? []) {
    const [name = ""] = option;
    if (option.length < 1 || option.length > 2) throw refuse("invalid option array length");
    if (!WORDS.includes(name)) throw refuse(`invalid option: ${name}`);
    words.push(option.join("="));
  }
  return words.join(",");
}
