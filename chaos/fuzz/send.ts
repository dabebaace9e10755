/** Sends a request whole, or the bytes of one in pieces, cut, slow, half-closed or never ended. */
import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import type { Dice } from "../dice.ts";
import type { FuzzRequest } from "./grammar.ts";

export interface Outcome {
  /** 0: the connection ended without an answer. */
  status: number;
  body: string;
  timedOut: boolean;
}

/** At most so much of an answer is kept; the rest is read and forgotten. */
const KEPT = 2000;

export function targetOf({ path, query }: FuzzRequest): string {
  const search = new URLSearchParams(query).toString();
  // Node refuses what no request line can hold; the raw streams send it.
  const clean = path.replace(/[^\x21-\x7e]/g, (character) => encodeURIComponent(character));
  return search === "" ? clean : `${clean}?${search}`;
}

export function bytesOf(body: FuzzRequest["body"]): Buffer {
  if (body === undefined) return Buffer.alloc(0);
  return Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body.json) ?? "");
}

/** `patience`: milliseconds until the answer is no longer waited for. Never rejects. */
export function send(socketPath: string, request: FuzzRequest, patience: number): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const body = bytesOf(request.body);
  const json = body.length > 0 ? { "Content-Type": "application/json", "Content-Length": body.length } : {};
  const headers = Object.fromEntries(
    Object.entries({ ...json, ...request.headers }).map(([name, value]) => [
      name,
      String(value).replace(/[^\x20-\x7e]/g, ""),
    ]),
  );
  const sent = httpRequest({
    socketPath,
    agent: false,
    method: request.method,
    path: targetOf(request),
    headers,
  });
  let status = 0;
  let text = "";
  const done = (timedOut: boolean) => {
    clearTimeout(timer);
    resolve({ status, body: text, timedOut });
    sent.destroy();
  };
  const timer = setTimeout(() => done(true), patience);
  sent.on("response", (answer) => {
    status = answer.statusCode ?? 0;
    answer.on("data", (chunk: Buffer) => {
      if (text.length < KEPT) text += chunk;
    });
    answer.on("error", () => {});
    answer.on("close", () => done(false));
  });
  sent.on("upgrade", (answer, socket) => {
    status = answer.statusCode ?? 0;
    socket.destroy();
    done(false);
  });
  sent.on("error", () => done(false));
  sent.end(body);
  return promise;
}

/** The bytes of a request, treated badly. Resolves when the connection is gone or `patience` is over. */
export function sendRaw(
  socketPath: string,
  request: FuzzRequest,
  dice: Dice,
  patience: number,
): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const body = bytesOf(request.body);
  const length = dice.pick([body.length, body.length + 10, 0, -1, 2 ** 40]);
  const upgrade = dice.oneIn(3) ? "Connection: Upgrade\r\nUpgrade: tcp\r\n" : "";
  const framing = dice.oneIn(3) ? "Transfer-Encoding: chunked" : `Content-Length: ${length}`;
  const head = `${request.method} ${request.path} HTTP/1.1\r\nHost: x\r\n${upgrade}${framing}\r\n\r\n`;
  const whole = Buffer.concat([Buffer.from(head), body]);
  const bytes = dice.pick([
    whole,
    Buffer.concat([whole, whole, whole]),
    whole.subarray(0, dice.between(0, whole.length)),
    Buffer.from(`GET / HTTP/1.1\r\n${"X: y\r\n".repeat(5000)}\r\n`),
    Buffer.from(`GET /${"a".repeat(100_000)} HTTP/1.1\r\n\r\n`),
    Buffer.from("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
  ]) as Buffer;
  const end = dice.pick(["half", "reset", "leave"]);
  const slow = dice.oneIn(4);
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  let text = "";
  const done = (timedOut: boolean) => {
    clearTimeout(timer);
    socket.destroy();
    resolve({ status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), body: text, timedOut });
  };
  const timer = setTimeout(() => done(true), patience);
  socket.on("data", (chunk: Buffer) => {
    if (text.length < KEPT) text += chunk;
  });
  socket.on("error", () => {});
  socket.on("end", () => done(false));
  socket.on("close", () => done(false));
  socket.on("connect", () => {
    if (slow) return dribble(socket, bytes);
    const at = dice.between(0, bytes.length);
    socket.write(bytes.subarray(0, at));
    setImmediate(() => {
      socket.write(bytes.subarray(at));
      if (end === "half") socket.end();
      else if (end === "reset") setTimeout(() => done(false), 2);
    });
  });
  return promise;
}

/** A few bytes at a time, for as long as anybody waits. */
function dribble(socket: Socket, bytes: Buffer): void {
  let at = 0;
  const timer = setInterval(() => {
    if (at >= bytes.length) return clearInterval(timer);
    socket.write(bytes.subarray(at, at + 7));
    at += 7;
  }, 5);
  socket.on("close", () => clearInterval(timer));
}
