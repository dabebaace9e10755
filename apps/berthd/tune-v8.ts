/**
 * How V8 shall behave in a daemon: not by flags of the command line, where a Node that does not know one refuses to start;
 * one that V8 does not know is passed over here.
 */
import { setFlagsFromString } from "node:v8";

const FLAGS = [
  // A young collection is done in a millisecond by the thread that needs it; waking others for it takes as long on an idle
  // machine, and many times as long on a busy one.
  "--no-parallel-scavenge",
  // What a start runs is run once for each container: after the hundredth it is worth compiling well, not after the 400th.
  "--invocation-count-for-maglev=100",
];

/** For this process and its threads; to be called first. */
export function tuneV8(): void {
  for (const flag of FLAGS) setFlagsFromString(flag);
}
