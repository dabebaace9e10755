/** GELF over UDP, compressed and in chunks, or over TCP, each message with a zero byte at its end. */
import type { SinkPlan } from "#logs/ship-types.ts";
import { compressGelf, gelfDatagrams, gelfMessage } from "#logs/sinks/gelf-message.ts";
import type { Sink } from "#logs/sinks/sink.ts";
import { StreamConnection } from "#logs/sinks/stream-connection.ts";
import { UdpTarget } from "#logs/sinks/udp-target.ts";

const END = Buffer.of(0);

export function gelfSink({ options, fields }: SinkPlan & { kind: "gelf" }): Sink {
  const { network, host, port } = options;
  if (network === "udp") {
    const target = new UdpTarget(host, port);
    return {
      send: (events) =>
        target.send(
          events.flatMap((event) => gelfDatagrams(compressGelf(gelfMessage(event, fields), options))),
        ),
      close: async () => target.close(),
    };
  }
  const connection = new StreamConnection({ host: host === "" ? "127.0.0.1" : host, port, path: "" });
  return {
    send: (events, signal) =>
      connection.write(Buffer.concat(events.flatMap((event) => [gelfMessage(event, fields), END])), signal),
    close: () => connection.close(),
  };
}
