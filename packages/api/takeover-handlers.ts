/** Attach and exec start: the operations that take their connection over. */
import { type Duplex, PassThrough } from "node:stream";
import type { ContainerService } from "#engine/engine-types.ts";
import { frame } from "#engine/streams/multiplex.ts";
import { execStartShape } from "./container-shapes.ts";
import { streamErrorText } from "./error-table.ts";
import { finish, multiplexedStream, rawStream } from "./hijack.ts";
import { sendEmpty } from "./reply.ts";
import { type Handlers, nameOf, type RequestContext } from "./request-context.ts";
import { atLeast } from "./versions.ts";
import { withoutFrames } from "./websocket.ts";

export const takeoverHandlers: Handlers = {
  async ContainerAttach(context) {
    await skipBody(context);
    await converse(context, await attachment(context));
  },

  async ContainerAttachWebsocket(context) {
    const { tty, connect } = await attachment(context);
    const messages = await orNobody(context.takeWebSocket(), connect);
    const client = tty ? messages : withoutFrames(messages);
    try {
      await connect(client);
    } catch (error) {
      if (messages.writable) {
        messages.write(`${streamErrorText(error, context.logger, context.operation)}\r\n`);
      }
    }
    client.end();
  },

  async ExecStart(context) {
    const { engine, version } = context;
    const request = await context.json(execStartShape, { optional: true });
    const started = await engine.execs.start(nameOf(context), {
      detach: request.Detach ?? false,
      tty: request.Tty ?? false,
      consoleSize: atLeast(version, "1.42") ? (request.ConsoleSize ?? null) : null,
    });
    if (started === undefined) sendEmpty(context.response, 200);
    else await converse(context, started);
  },
};

/** No more of a body that nobody asked for, in bytes. */
const unaskedLimit = 64 * 1024;

/**
 * Attach has no body, but clients exist (docker-modem, and so whatever is built on it) that repeat their parameters
 * in one: it ends where its length says and is no input of the container.
 */
async function skipBody({ body }: RequestContext): Promise<void> {
  if (body.length !== undefined && body.length > 0) await body.read(unaskedLimit);
}

function attachment({ engine, query, ...context }: RequestContext): ReturnType<ContainerService["attach"]> {
  return engine.containers.attach(context.parameters.id ?? "", {
    stdin: query.flag("stdin"),
    stdout: query.flag("stdout"),
    stderr: query.flag("stderr"),
    stream: query.flag("stream"),
    logs: query.flag("logs"),
    detachKeys: query.text("detachKeys"),
  });
}

/** The content type of a stream of container output. */
export function outputType(context: RequestContext, tty: boolean): string {
  return !tty && atLeast(context.version, "1.42") ? multiplexedStream : rawStream;
}

async function converse(
  context: RequestContext,
  { tty, connect }: { tty: boolean; connect: (client: Duplex) => Promise<void> },
): Promise<void> {
  // A client that doesn't ask for an upgrade is told raw-stream whatever the framing, as dockerd does.
  const upgrade = context.request.headers.upgrade !== undefined;
  const takenOver = async () => context.takeOver(upgrade ? outputType(context, tty) : rawStream);
  const client = await orNobody(takenOver(), connect);
  try {
    await connect(client);
  } catch (error) {
    const text = `${streamErrorText(error, context.logger, context.operation)}\r\n`;
    if (client.writable) client.write(tty ? text : frame(1, text));
  }
  finish(client);
}

/** What the engine has ready for a client that then doesn't come would hold up its container: it is given one that has gone. */
async function orNobody(
  client: Promise<Duplex>,
  connect: (client: Duplex) => Promise<void>,
): Promise<Duplex> {
  try {
    return await client;
  } catch (error) {
    // Not waited for: a container that has not been started takes its time.
    connect(new PassThrough().destroy()).catch(() => undefined);
    throw error;
  }
}
