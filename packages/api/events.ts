/** GET /events: past and live events, one JSON object a line. */
import { BerthError } from "#errors/errors.ts";
import { streamJsonLines } from "./json-stream.ts";
import type { Handlers } from "./request-context.ts";
import { parseTime } from "./time-parameter.ts";

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
    await streamJsonLines(response, engine.events.subscribe({ since, until, filters, signal }), signal);
  },
};
