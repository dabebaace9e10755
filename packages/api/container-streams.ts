/** Wait and logs: answers whose head goes out long before their end. */

import { pipeline } from "node:stream/promises";
import type { WaitCondition } from "#engine/engine-types.ts";
import { frame } from "#engine/streams/multiplex.ts";
import { BerthError } from "#errors/errors.ts";
import { streamErrorText } from "./error-table.ts";
import { drained } from "./json-stream.ts";
import { sendJson } from "./reply.ts";
import { type Handlers, nameOf, type RequestContext } from "./request-context.ts";
import { outputType } from "./takeover-handlers.ts";
import { parseTime } from "./time-parameter.ts";
import { atLeast } from "./versions.ts";

const waitConditions = new Set<string>(["not-running", "next-exit", "removed"]);

export const containerStreamHandlers: Handlers = {
  async ContainerWait(context) {
    const { engine, response, signal, version } = context;
    const modern = atLeast(version, "1.30");
    const condition = modern ? waitCondition(context.query.text("condition")) : "not-running";
    const { result } = await engine.containers.wait(nameOf(context), condition, signal);
    if (modern) {
      // Clients start the container only once they see the wait answered.
      response.writeHead(200, { "Content-Type": "application/json" });
      response.flushHeaders();
    }
    const outcome = await result.catch((error: unknown) => {
      if (signal.aborted) return undefined;
      if (!response.headersSent) throw error;
      return {
        StatusCode: -1,
        Error: { Message: streamErrorText(error, context.logger, context.operation) },
      };
    });
    if (outcome === undefined) response.destroy();
    else if (modern) response.end(`${JSON.stringify(outcome)}\n`);
    else sendJson(response, 200, outcome);
  },

  async ContainerStats(context) {
    const { engine, query, response, signal, version } = context;
    const stream = query.flag("stream", true);
    const oneShot = atLeast(version, "1.41") && query.flag("one-shot");
    if (stream && oneShot) {
      throw new BerthError("invalid", "cannot have stream=true and one-shot=true", {
        operation: "read stats",
        object: nameOf(context),
      });
    }
    const lines = engine.containers.stats(nameOf(context), { stream, once: oneShot }, signal);
    response.writeHead(200, { "Content-Type": "application/json" });
    if (stream) response.flushHeaders();
    for await (const line of lines) {
      if (signal.aborted) break;
      if (!response.write(`${line}\n`)) await drained(response, signal);
    }
    response.end();
  },

  async ContainerLogs(context) {
    const { engine, query, response, signal } = context;
    const stdout = query.flag("stdout");
    const stderr = query.flag("stderr");
    if (!stdout && !stderr) {
      throw new BerthError("invalid", "Bad parameters: you must choose at least one stream", {
        operation: "read logs",
        object: nameOf(context),
      });
    }
    const { tty, stream } = await engine.containers.logs(
      nameOf(context),
      {
        follow: query.flag("follow"),
        stdout,
        stderr,
        since: logTime(context, "since"),
        until: logTime(context, "until"),
        timestamps: query.flag("timestamps"),
        tail: tailOf(query.text("tail")),
        details: query.flag("details"),
      },
      signal,
    );
    response.writeHead(200, { "Content-Type": outputType(context, tty) });
    response.flushHeaders();
    try {
      await pipeline(stream, response, { end: false });
    } catch (error) {
      if (signal.aborted || response.destroyed) return;
      const text = `Error grabbing logs: ${streamErrorText(error, context.logger, context.operation)}\n`;
      if (!response.write(tty ? text : frame(3, text))) await drained(response, signal);
    }
    response.end();
  },
};

function waitCondition(text: string): WaitCondition {
  if (text === "") return "not-running";
  if (waitConditions.has(text)) return text as WaitCondition;
  throw new BerthError("invalid", `invalid condition: ${JSON.stringify(text)}`, { operation: "wait" });
}

/** Zero is how clients say "no bound". */
function logTime(context: RequestContext, name: "since" | "until"): bigint | undefined {
  const time = parseTime(name, context.query.text(name));
  return time === 0n ? undefined : time;
}

/** "all", nothing, negative numbers and nonsense all mean every line, as in Docker. */
function tailOf(text: string): number | undefined {
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}
