/** The longest delay that setTimeout has, ms; with a longer one it does not wait at all. */
export const LONGEST_TIMER_MS = 0x7fffffff;
