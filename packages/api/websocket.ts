/**
 * Attach over a WebSocket, for clients that have nothing else (browsers): the same bytes, without the framing, in
 * binary messages. The handshake and the messages are the ws library's, which is loaded when somebody comes with one.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { Deframer } from "#engine/streams/multiplex.ts";
import { BerthError } from "#errors/errors.ts";

/** Answers the handshake. What is written to the stream goes out as messages, what comes in is read from it. */
export async function acceptWebSocket(request: IncomingMessage, socket: Socket): Promise<Duplex> {
  const { createWebSocketStream, WebSocketServer } = await import("ws");
  const server = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate: false });
  return await new Promise((resolve, reject) => {
    server.on("wsClientError", (error) => {
      reject(new BerthError("invalid", `bad WebSocket handshake: ${error.message}`, { operation: "attach" }));
    });
    // One that is gone already is not told of by the library.
    const gone = () =>
      reject(new BerthError("invalid", "the client has gone before its WebSocket", { operation: "attach" }));
    socket.once("close", gone);
    if (socket.destroyed) gone();
    server.handleUpgrade(request, socket, Buffer.alloc(0), (client) => {
      const stream = createWebSocketStream(client);
      // The library throws an error that nobody listens for, and until a container's start nobody may; its end tells enough.
      stream.on("error", () => {});
      // A WebSocket is closed both ways at once: nobody is left to be told anything.
      stream.once("end", () => stream.destroy());
      resolve(stream);
    });
  });
}

/** The stream as the engine speaks to it: output that comes framed leaves it bare. */
export function withoutFrames(client: Duplex): Duplex {
  const pieces: Buffer[] = [];
  const deframer = new Deframer((_stream, content) => pieces.push(content));
  const outer = new Duplex({
    read: () => client.resume(),
    write(chunk: Buffer, _encoding, done) {
      deframer.push(chunk);
      const content = Buffer.concat(pieces.splice(0));
      // Whoever has gone takes nothing more; what it sent before may still be on its way through here.
      if (content.length === 0 || client.destroyed) done();
      else client.write(content, done);
    },
    final: (done) => void client.end(done),
    destroy(error, done) {
      client.destroy();
      done(error);
    },
  });
  // A write to a client that leaves may fail, and before the streams are joined nobody may be listening.
  outer.on("error", () => {});
  client.on("data", (chunk: Buffer) => {
    if (!outer.push(chunk)) client.pause();
  });
  client.on("end", () => outer.push(null));
  client.on("error", () => outer.destroy());
  client.on("close", () => {
    if (!client.readableEnded) outer.destroy();
  });
  outer.once("end", () => outer.destroy());
  return outer;
}
