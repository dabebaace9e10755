/** Answers that are given whole. */
import type { ServerResponse } from "node:http";

/** Characters from which on an answer is worth a buffer of its own. */
const LONG = 64 * 1024;

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  sendJsonText(response, status, JSON.stringify(body));
}

/** `json`: made already. */
export function sendJsonText(response: ServerResponse, status: number, json: string): void {
  if (json.length > LONG) {
    // As bytes, since a text is gone through twice, for its length and to be sent.
    const body = Buffer.from(`${json}\n`);
    response.writeHead(status, { "Content-Type": "application/json", "Content-Length": body.length });
    response.end(body);
    return;
  }
  // Node sends it together with the head, in one piece.
  const text = `${json}\n`;
  const length = Buffer.byteLength(text);
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": length });
  response.end(text, length === text.length ? "latin1" : "utf8");
}

export function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Length": Buffer.byteLength(text),
  });
  response.end(text);
}

export function sendEmpty(response: ServerResponse, status: number): void {
  response.writeHead(status, status === 204 || status === 304 ? {} : { "Content-Length": 0 });
  response.end();
}
