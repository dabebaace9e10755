/** GET /events: past and live events, one JSON object a line, which is written once for all who listen. */
import type { EventMessage } from "#api-types/system.ts";
import { BerthError } from "#errors/errors.ts";
import { streamJsonLines } from "./json-stream.ts";
import type { Handlers } from "./request-context.ts";
import { parseTime } from "./time-parameter.ts";

/** Hundreds may listen: what waits for those that are slow is one text. */
const lines = new WeakMap<EventMessage, string>();

function lineOf(event: EventMessage): string {
  let line = lines.get(event);
  if (line === undefined) {
    line = `${JSON.stringify(event)}\n`;
    lines.set(event, line);
  }
  return line;
}

export const eventHandlers: Handlers = {
  async SystemEvents(context) {
    const { engine, query, response, signal } = context;
    const since = parseTime("since", query.text("since"));
    const until = parseTime("until", query.text("until"));
    if (since !== undefined && until !== undefined && since > until) {
      throw new BerthError(
        "invalid",
        `\`since\` time (${query.text("since")}) cannot be after \`until\` time (${query.text("until")})`,
        { operation: "read events" },
      );
    }
    const filters = context.filters();
    await streamJsonLines(
      response,
      engine.events.subscribe({ since, until, filters, signal }),
      signal,
      lineOf,
    );
  },
};
