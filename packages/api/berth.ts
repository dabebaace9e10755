/** What only Berth has. */
import { sendJson, sendText } from "./reply.ts";
import { type Handlers, nameOf } from "./request-context.ts";

export const berthHandlers: Handlers = {
  /** The program of the last start, for people. */
  async BerthProgram(context) {
    sendText(context.response, 200, await context.engine.containers.describeProgram(nameOf(context)));
  },

  /** How long the stages of the last operations took. */
  async BerthTimings(context) {
    sendJson(context.response, 200, context.engine.containers.stageTimes(nameOf(context)));
  },
};
