/** splunk's HTTP event collector: batches of events by POST, each kept until the answer says that it was taken. */
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { SinkPlan } from "#logs/ship-types.ts";
import { type Sink, Undeliverable } from "#logs/sinks/sink.ts";
import { splunkEvent } from "#logs/sinks/splunk-message.ts";

const PATH = "/services/collector/event/1.0";
/** For an answer, ms. */
const PATIENCE = 30_000;
const compressed = promisify(gzip);

export function splunkSink(plan: SinkPlan & { kind: "splunk" }): Sink {
  const { options } = plan;
  const secure = options.url.startsWith("https:");
  const agent = secure
    ? new HttpsAgent({
        keepAlive: true,
        rejectUnauthorized: !options.skipVerify,
        ...(options.ca === undefined ? {} : { ca: options.ca }),
        ...(options.caName === "" ? {} : { servername: options.caName }),
      })
    : new HttpAgent({ keepAlive: true });
  const headers: Record<string, string> = {
    Authorization: `Splunk ${options.token}`,
    "Content-Type": "application/json",
    ...(options.gzip === undefined ? {} : { "Content-Encoding": "gzip" }),
    // One channel for a sink: what acknowledgements are about.
    ...(options.acknowledge ? { "X-Splunk-Request-Channel": crypto.randomUUID() } : {}),
  };

  function post(body: Buffer, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const send = secure ? httpsRequest : httpRequest;
      const request = send(
        `${options.url}${PATH}`,
        {
          method: "POST",
          agent,
          headers: { ...headers, "Content-Length": body.length },
          signal,
          timeout: PATIENCE,
        },
        (response) => {
          let text = "";
          response.on("data", (chunk: Buffer) => {
            if (text.length < 1024) text += chunk.toString();
          });
          response.on("error", reject);
          response.on("end", () => {
            if (response.statusCode === 200) resolve();
            else {
              const reason = `splunk answers ${response.statusCode}: ${text.slice(0, 200)}`;
              // 400: what was sent is malformed; all others may be better another time.
              reject(response.statusCode === 400 ? new Undeliverable(reason) : new Error(reason));
            }
          });
        },
      );
      request.on("timeout", () => request.destroy(new Error("no answer from splunk")));
      request.on("error", reject);
      request.end(body);
    });
  }

  return {
    async send(events, signal) {
      const texts = events.map((event) => splunkEvent(event, plan)).filter((text) => text !== undefined);
      if (texts.length === 0) return;
      const plain = Buffer.from(texts.join(""));
      const body = options.gzip === undefined ? plain : await compressed(plain, { level: options.gzip });
      await post(body, signal);
    },
    async close() {
      agent.destroy();
    },
  };
}
