/**
 * `docker ps` as the text that is sent. Of a container at rest nothing changes but how long ago that was: its text is
 * made once and kept until its record is saved again, which makes a list of a thousand a matter of one millisecond.
 */
import type { ContainerSummary } from "#api-types/container.ts";
import type { Container } from "#engine/containers/container.ts";
import { asksForStopped, containerFilter } from "#engine/containers/container-filters.ts";
import { containerSizes } from "#engine/containers/container-sizes.ts";
import { summarize } from "#engine/containers/container-view.ts";
import { statusText } from "#engine/containers/status-text.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import type { Filters } from "#engine/engine-types.ts";
import { nowNanoseconds } from "#engine/timestamps.ts";

/** JSON: an array of ContainerSummary, the youngest first. */
export async function listContainers(
  context: EngineContext,
  options: { all: boolean; limit: number; size: boolean; filters: Filters },
): Promise<string> {
  const passes = containerFilter(options.filters, context.containers);
  const all = options.all || options.limit > 0 || asksForStopped(options.filters);
  const chosen = context.containers
    .all()
    .filter((container) => (all || container.isRunning) && passes(container))
    .reverse();
  const limited = options.limit > 0 ? chosen.slice(0, options.limit) : chosen;
  const texts = options.size
    ? await Promise.all(limited.map((container) => withSizes(context, container)))
    : limited.map((container) => summaryText(context, container));
  return `[${texts.join(",")}]`;
}

async function withSizes(context: EngineContext, container: Container): Promise<string> {
  const summary = summarize(context, container);
  const { SizeRw, SizeRootFs } = await containerSizes(context, container);
  // Where nothing was written, Docker says nothing.
  return JSON.stringify({ ...summary, ...(SizeRw > 0 && { SizeRw }), ...(SizeRootFs > 0 && { SizeRootFs }) });
}

function summaryText(context: EngineContext, container: Container): string {
  // What runs has addresses and ports, which change without its record.
  if (container.isRunning) return JSON.stringify(summarize(context, container));
  container.restingSummary ??= aroundStatus(summarize(context, container));
  const [before, after] = container.restingSummary;
  return `${before}${JSON.stringify(statusText(container.record.state, nowNanoseconds()))}${after}`;
}

/** The summary's text up to its status, and from there on. */
function aroundStatus({
  Status: _Status,
  HostConfig,
  NetworkSettings,
  Mounts,
  ...head
}: ContainerSummary): [before: string, after: string] {
  const tail = JSON.stringify({ HostConfig, NetworkSettings, Mounts });
  return [`${JSON.stringify(head).slice(0, -1)},"Status":`, `,${tail.slice(1)}`];
}
