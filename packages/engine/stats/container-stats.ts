/** `docker stats`: messages as lines of JSON, whose counters may be beyond what a number holds. */
import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { samples, takeSample } from "#engine/stats/stats-collector.ts";
import { NOTHING, type Sample, statsMessage } from "#engine/stats/stats-shape.ts";
import { formatStats } from "#runtime/cgroups/stats.ts";

/** `once`: the counters as they are, without the ones before. Else, without `stream`, one message of two samples. */
export async function* containerStats(
  context: EngineContext,
  container: Container,
  { stream, once }: { stream: boolean; once: boolean },
  signal: AbortSignal,
): AsyncIterable<string> {
  const message = (sample: Sample, before?: Sample) =>
    formatStats(statsMessage({ name: container.record.name, id: container.id }, sample, before));
  const { state } = container.record;
  if (!stream && (once || !state.Running || state.Restarting)) {
    yield message(takeSample(context, container));
    return;
  }
  let before: Sample | undefined;
  for await (const sample of samples(context, container, signal)) {
    // What does not run has no sample before.
    const known = before === NOTHING ? undefined : before;
    if (stream) yield message(sample, known);
    else if (before !== undefined) {
      yield message(sample, known);
      return;
    }
    before = sample;
  }
}
