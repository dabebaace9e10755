/** The journal, by its native socket. */
import type { SinkPlan } from "#logs/ship-types.ts";
import { journalMessage } from "#logs/sinks/journal-message.ts";
import type { Sink } from "#logs/sinks/sink.ts";
import { UnixDatagrams } from "#logs/sinks/unix-datagrams.ts";

export function journaldSink({ socket, fields }: SinkPlan & { kind: "journald" }): Sink {
  const target = new UnixDatagrams(socket);
  return {
    async send(events, signal) {
      // An entry is 16 KiB at most, and fits into a datagram with all that is said about it.
      for (const event of events) await target.send(journalMessage(event, fields), signal);
    },
    async close() {
      target.close();
    },
  };
}
