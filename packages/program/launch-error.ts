/** A step of a start that the kernel refused. */
import { BerthError } from "#errors/errors.ts";
import { errnoName } from "#program/errno.ts";
import type { Program } from "#program/types.ts";

/** Code "start-failed"; the message is what the program explains: "mount proc on /proc: EPERM (…)". */
export class LaunchError extends BerthError {
  /** Index of the failed instruction. */
  readonly instruction: number;
  /** The kernel's error number, positive. */
  readonly errno: number;
  /** Its name: "ENOENT". */
  readonly errnoName: string;
  /** What the instruction was for: "mount proc on /proc". */
  readonly label: string;

  constructor(program: Pick<Program, "labels" | "explain">, instruction: number, errno: number) {
    const label = program.labels[instruction] ?? `instruction ${instruction}`;
    super("start-failed", program.explain(instruction, errno), { operation: "start process", object: label });
    this.name = "LaunchError";
    this.instruction = instruction;
    this.errno = errno;
    this.errnoName = errnoName(errno);
    this.label = label;
  }
}
