/** How much a piece of work costs, for tests of how it grows with what is given to it. */

/**
 * CPU time that `work` takes, ms: nearly the same on a busy machine. It holds the time of compilers and collectors too, so
 * that a bound is to be seconds, where what must not be takes minutes.
 */
export function cpuTime(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
