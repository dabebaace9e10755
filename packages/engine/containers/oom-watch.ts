/**
 * Tells when the kernel has killed a process of a container that goes on. One counter of the whole machine is looked at;
 * only when that has grown are the containers.
 */
import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { readOomKillsOfHost } from "#kernel/proc-counters.ts";
import { readOomKills } from "#runtime/cgroups/events.ts";

const PERIOD_MS = 500;

/** Answers how to stop it. */
export function watchForOom(context: EngineContext): () => void {
  // What happened while there was no daemon shows at the first look.
  let seen = -1;
  const look = () => {
    // Without a container there is nothing to tell, and a daemon that idles need not look.
    const running = context.containers.all().filter(({ live }) => live !== undefined);
    if (running.length === 0) return;
    const now = readOomKillsOfHost();
    if (now === seen) return;
    seen = now;
    for (const container of running) tell(context, container);
  };
  const guarded = () => {
    try {
      look();
    } catch (error) {
      context.logger.warn("looking for out-of-memory kills failed", { error });
    }
  };
  const timer = setInterval(guarded, PERIOD_MS);
  timer.unref();
  return () => clearInterval(timer);
}

function tell(context: EngineContext, container: Container): void {
  const kills = readOomKills(context.cgroups, container.record);
  if (kills <= container.oomKillsTold) return;
  container.oomKillsTold = kills;
  const known = container.record.state.OOMKilled;
  container.record.state.OOMKilled = true;
  context.containers.save(container);
  // A former daemon may have told of these.
  if (!known || kills > 1) publishContainerEvent(context, container, "oom");
}
