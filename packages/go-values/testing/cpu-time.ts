/** How much a piece of work costs, for tests of how it grows with what is given to it. */

/** CPU time that `work` takes, ms: it is the same on a busy machine. */
export function cpuTime(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
