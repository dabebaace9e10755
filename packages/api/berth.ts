/** What only Berth has. */
import { sendText } from "./reply.ts";
import { type Handlers, nameOf } from "./request-context.ts";

export const berthHandlers: Handlers = {
  /** The program of the last start, for people. */
  async BerthProgram(context) {
    sendText(context.response, 200, await context.engine.containers.describeProgram(nameOf(context)));
  },
};
