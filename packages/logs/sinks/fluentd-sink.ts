/** fluentd's forward protocol, with the other side's word if asked for. */
import { randomBytes } from "node:crypto";
import { decodeMulti } from "@msgpack/msgpack";
import type { SinkPlan } from "#logs/ship-types.ts";
import { fluentdMessage } from "#logs/sinks/fluentd-message.ts";
import type { Sink } from "#logs/sinks/sink.ts";
import { StreamConnection } from "#logs/sinks/stream-connection.ts";

/** For the other side to say that it has a chunk, ms. */
const PATIENCE = 30_000;
/** An answer is about forty bytes: what gets so long is none. */
const LONGEST_ANSWER = 4096;

export function fluentdSink({ options, tag, fields }: SinkPlan & { kind: "fluentd" }): Sink {
  const { network, host, port, path, acknowledge, subSecond } = options;
  let answer = Buffer.alloc(0);
  let lost = false;
  let onAnswer = (): void => undefined;
  const target = { host, port, path };
  const connection = new StreamConnection(
    network === "tls" ? { ...target, tls: { servername: host } } : target,
    {
      onData: (chunk) => {
        answer = Buffer.concat([answer, chunk]);
        onAnswer();
      },
      onClose: () => {
        lost = true;
        onAnswer();
      },
    },
  );
  return {
    async send(events, signal) {
      const chunk = acknowledge ? randomBytes(16).toString("base64") : undefined;
      answer = Buffer.alloc(0);
      lost = false;
      await connection.write(fluentdMessage(events, { tag, fields, subSecond, chunk }), signal);
      if (chunk === undefined) return;
      try {
        await acknowledged(chunk, signal);
      } catch (error) {
        // Its answers to come would be to something else.
        connection.drop();
        throw error;
      }
    },
    close: () => connection.close(),
  };

  async function acknowledged(chunk: string, signal: AbortSignal): Promise<void> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
    while (!isAcknowledged(answer, chunk)) {
      if (lost) throw new Error("the connection was lost before the other side had the events");
      if (answer.length > LONGEST_ANSWER) throw new Error("the other side answers with something else");
      await new Promise<void>((resolve, reject) => {
        const fail = () => reject(new Error("the other side does not say that it has the events"));
        limit.addEventListener("abort", fail, { once: true });
        onAnswer = () => {
          limit.removeEventListener("abort", fail);
          resolve();
        };
        if (limit.aborted) fail();
      });
    }
  }
}

function isAcknowledged(bytes: Buffer, chunk: string): boolean {
  try {
    for (const value of decodeMulti(bytes)) {
      if (value !== null && typeof value === "object" && "ack" in value && value.ack === chunk) return true;
    }
  } catch {
    // Its end has not come yet.
  }
  return false;
}
