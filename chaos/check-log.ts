/** Numbered lines: each once, in order, none missing between two. */
import type { ChaosContainer } from "./ledger.ts";

/** What is wrong with the lines of a log or a piece of it. */
export function checkLines(text: string, { lostLines }: Pick<ChaosContainer, "lostLines">): string[] {
  const wrong: string[] = [];
  const numbers = numbersOf(text);
  for (const [at, number] of numbers.entries()) {
    const before = numbers[at - 1];
    if (before === undefined || number === before + 1) continue;
    if (number <= before) wrong.push(`line ${number} comes after line ${before}`);
    else if (!lostLines) wrong.push(`the lines between ${before} and ${number} are lost`);
  }
  return wrong;
}

export function numbersOf(text: string): number[] {
  return [...text.matchAll(/line (\d+)\n/g)].map((match) => Number(match[1]));
}
