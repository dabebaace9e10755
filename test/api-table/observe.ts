/**
 * What a real daemon answers: every operation is used as clients use it, and each field of the specification that is seen in
 * an answer is written down, with what is answered beyond the specification and what is of another type than it says.
 *
 * The requests themselves are in observed-requests.ts.
 */
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { compareWithType, type Departure, engineApi, fieldsOf, newestPath } from "./engine-api.ts";

/** By operation: paths of fields. */
export interface Observed {
  /** Operations that answered other than with an error. */
  served: Set<string>;
  /** What others answered: status and text. */
  refused: Map<string, string>;
  answers: Map<string, Set<string>>;
  headers: Map<string, Set<string>>;
  /** Answered, though the specification doesn't have them. */
  beyond: Map<string, Set<string>>;
  /** Fields of a request that inspecting the object afterwards showed with the same value. */
  shown: Map<string, Set<string>>;
  departures: { operation: string; departure: Departure }[];
}

/** The same as it is kept (observed.json). */
export interface ObservedFile {
  served: string[];
  refused: Record<string, string>;
  answers: Record<string, string[]>;
  headers: Record<string, string[]>;
  beyond: Record<string, string[]>;
  shown: Record<string, string[]>;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  bytes: Buffer;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape are looked into.
  json: any;
}

export interface Asked {
  query?: Record<string, string>;
  headers?: Record<string, string>;
  /** Bytes, or an object that goes as JSON. */
  body?: object | Buffer;
}

export class Observer {
  readonly observed: Observed = {
    served: new Set(),
    refused: new Map(),
    answers: new Map(),
    headers: new Map(),
    beyond: new Map(),
    shown: new Map(),
    departures: [],
  };
  readonly #socket: string;

  constructor(socket: string) {
    this.#socket = socket;
  }

  /** Asks, whatever the answer, and notes what a good one holds. `name` stands for the parameter of the path. */
  async ask(id: string, name = "", { query = {}, headers = {}, body }: Asked = {}): Promise<Answer> {
    const operation = engineApi.operations[id];
    if (operation === undefined) throw new Error(`the specification has no ${id}`);
    const path = newestPath(operation.path.replace(/\{[^}]*\}/, name), query);
    const answer = await this.#send(operation.method, path, headers, body);
    if (answer.status < 400) {
      this.observed.served.add(id);
      for (const header of operation.answerHeaders ?? []) {
        if (answer.headers[header.toLowerCase()] !== undefined) entry(this.observed.headers, id).add(header);
      }
      if (operation.answer !== undefined) this.#note(id, operation.answer, answer);
    } else {
      this.observed.refused.set(id, `${answer.status} ${answer.json?.message ?? ""}`.trim());
    }
    return answer;
  }

  /** As `ask`, but for one that has to go well. */
  async do(id: string, name = "", asked: Asked = {}): Promise<Answer> {
    const answer = await this.ask(id, name, asked);
    if (answer.status >= 400) throw new Error(`${id} ${name}: ${answer.status} ${answer.text}`);
    return answer;
  }

  /** What of a request's fields an object shows afterwards; both in the shape of the request. */
  compare(id: string, sent: unknown, shown: unknown): void {
    const type = engineApi.operations[id]?.body ?? "";
    const seen = entry(this.observed.shown, id);
    const after = valuesByPath(type, shown);
    for (const [path, values] of valuesByPath(type, sent)) {
      const there = after.get(path) ?? [];
      if (values.every((value) => there.some((other) => holds(other, value)))) seen.add(path);
    }
  }

  /** In the order of the alphabet, so that what differs is what has changed. */
  file(): ObservedFile {
    const { served, refused, answers, headers, beyond, shown } = this.observed;
    const sorted = (map: Map<string, Set<string>>) =>
      Object.fromEntries(
        [...map]
          .filter(([, paths]) => paths.size > 0)
          .map(([id, paths]): [string, string[]] => [id, [...paths].sort()])
          .sort(([a], [b]) => (a < b ? -1 : 1)),
      );
    const never = [...refused].filter(([id]) => !served.has(id)).sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      served: [...served].sort(),
      refused: Object.fromEntries(never),
      answers: sorted(answers),
      headers: sorted(headers),
      beyond: sorted(beyond),
      shown: sorted(shown),
    };
  }

  #note(id: string, type: string, answer: Answer): void {
    if (type === "binary" || type === "string") return;
    const objects = answer.json === undefined ? jsonLines(answer.text) : [answer.json];
    for (const object of objects) {
      const departures = compareWithType(
        type,
        object,
        entry(this.observed.answers, id),
        entry(this.observed.beyond, id),
      );
      for (const departure of departures) this.observed.departures.push({ operation: id, departure });
    }
  }

  #send(
    method: string,
    path: string,
    headers: Record<string, string>,
    body: object | Buffer | undefined,
  ): Promise<Answer> {
    const bytes = body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    const type = Buffer.isBuffer(body) ? "application/x-tar" : "application/json";
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        socketPath: this.#socket,
        method,
        path,
        agent: false,
        headers: {
          ...(bytes !== undefined && { "Content-Type": type, "Content-Length": String(bytes.length) }),
          ...headers,
        },
      });
      const finish = (status: number, head: IncomingHttpHeaders, bytes: Buffer) => {
        const text = bytes.toString("utf8");
        resolve({ status, headers: head, bytes, text, json: parse(text) });
      };
      request.on("upgrade", (response, socket) => {
        socket.destroy();
        finish(response.statusCode ?? 0, response.headers, Buffer.alloc(0));
      });
      request.on("response", (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => finish(response.statusCode ?? 0, response.headers, Buffer.concat(chunks)));
      });
      request.on("error", reject);
      request.end(bytes);
    });
  }
}

/** Is it the same, or a list with everything of the other in it? (What images set comes in addition.) */
function holds(shown: string, sent: string): boolean {
  if (shown === sent) return true;
  if (!shown.startsWith("[") || !sent.startsWith("[")) return false;
  const there = new Set((JSON.parse(shown) as unknown[]).map((item) => JSON.stringify(item)));
  return (JSON.parse(sent) as unknown[]).every((item) => there.has(JSON.stringify(item)));
}

function valuesByPath(type: string, value: unknown): Map<string, string[]> {
  const values = new Map<string, string[]>();
  for (const { path, type: of } of fieldsOf(type)) {
    if (engineApi.types[of.replaceAll(/[[\]{}]/g, "")] !== undefined) continue;
    const found = pick(value, path.split("."))
      .filter((item) => item !== undefined && item !== null)
      .map((item) => JSON.stringify(item));
    if (found.length > 0) values.set(path, found);
  }
  return values;
}

/** The values at a path: several where it leads through lists and maps. */
function pick(value: unknown, steps: string[]): unknown[] {
  const [step, ...rest] = steps;
  if (step === undefined) return [value];
  if (typeof value !== "object" || value === null) return [];
  const inner = (value as Record<string, unknown>)[step.replaceAll(/[[\]{}]/g, "")];
  let values = [inner];
  for (const _ of step.match(/\[\]|\{\}/g) ?? [])
    values = values.flatMap((item) => (typeof item === "object" && item !== null ? Object.values(item) : []));
  return values.flatMap((item) => pick(item, rest));
}

function entry(map: Map<string, Set<string>>, key: string): Set<string> {
  const found = map.get(key) ?? new Set();
  map.set(key, found);
  return found;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function jsonLines(text: string): unknown[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map(parse)
    .filter((value) => value !== undefined);
}
