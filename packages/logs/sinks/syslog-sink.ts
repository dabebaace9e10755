/** syslog over UDP, TCP, TLS and unix sockets. */
import { statSync } from "node:fs";
import type { SinkPlan } from "#logs/ship-types.ts";
import type { Event, Sink } from "#logs/sinks/sink.ts";
import { StreamConnection } from "#logs/sinks/stream-connection.ts";
import { type SyslogHeader, syslogMessage } from "#logs/sinks/syslog-message.ts";
import { UdpTarget } from "#logs/sinks/udp-target.ts";
import { UnixDatagrams } from "#logs/sinks/unix-datagrams.ts";

/** The machine's own, the first that is there. */
const LOCAL_SOCKETS = ["/dev/log", "/var/run/syslog", "/var/run/log"];

export function syslogSink({ options, tag, hostName }: SinkPlan & { kind: "syslog" }): Sink {
  const { facility, format, network, host, port, path } = options;
  const counted = network === "tcp" || network === "tcp+tls";
  const header: SyslogHeader = { facility, format, tag, hostName, pid: process.pid, counted };
  switch (network) {
    case "udp": {
      const target = new UdpTarget(host, port);
      return {
        send: (events) => target.send(events.map((event) => syslogMessage(event, header))),
        close: async () => target.close(),
      };
    }
    case "tcp":
    case "tcp+tls":
    case "unix": {
      const { ca, cert, key, skipVerify } = options.tls;
      const tls = {
        rejectUnauthorized: !skipVerify,
        servername: host,
        ...(ca === undefined ? {} : { ca }),
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
      };
      const target = { host: host === "" ? "127.0.0.1" : host, port, path: network === "unix" ? path : "" };
      const connection = new StreamConnection(network === "tcp+tls" ? { ...target, tls } : target);
      return {
        send: (events, signal) =>
          connection.write(Buffer.concat(events.map((event) => syslogMessage(event, header))), signal),
        close: () => connection.close(),
      };
    }
    default:
      return datagramSink(network === "local" ? undefined : path, header);
  }
}

function datagramSink(path: string | undefined, header: SyslogHeader): Sink {
  let target: UnixDatagrams | undefined;
  return {
    async send(events: readonly Event[], signal) {
      target ??= new UnixDatagrams(path ?? localSocket());
      for (const event of events) await target.send(syslogMessage(event, header), signal);
    },
    async close() {
      target?.close();
    },
  };
}

function localSocket(): string {
  const found = LOCAL_SOCKETS.find((path) => statSync(path, { throwIfNoEntry: false })?.isSocket());
  if (found === undefined) throw new Error("Unix syslog delivery error");
  return found;
}
