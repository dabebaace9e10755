/** How a process ended, from the status that wait4 gives. Pure. */

/** Docker's exit code, and the signal if one ended it. */
export function decodeWaitStatus(status: number): { exitCode: number; signal: number | undefined } {
  // Low seven bits: the terminating signal, 0 for a regular exit; bit 7 only says that a core was dumped.
  const signal = status & 0x7f;
  if (signal !== 0) return { exitCode: 128 + signal, signal };
  return { exitCode: (status >> 8) & 0xff, signal: undefined };
}
