/**
 * Runs inside a worker thread: the name server, which waits for sockets and for what the daemon says. It never comes back
 * to Node's event loop; the daemon wakes it through a descriptor.
 */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { EPOLLIN } from "#kernel/poller.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { drainWakes } from "#kernel/wake.ts";
import type { DnsMessage, DnsReport, DnsThreadData } from "#networks/dns/dns-messages.ts";
import { NameServer } from "#networks/dns/name-server.ts";
import { makeSockets, socketsOfShim } from "#networks/dns/resolver-sockets.ts";

const { wake, stop } = workerData as DnsThreadData;
const port = parentPort;
if (port === null) throw new Error("the name server runs in a worker thread");
const stopped = new Int32Array(stop);
const server = new NameServer();

function take(message: DnsMessage): void {
  switch (message.kind) {
    case "names":
      server.setNames(message.names);
      break;
    case "forget":
      server.forget(message.containerId);
      break;
    case "serve":
      serve(message.containerId, message.pid);
      break;
  }
}

function serve(containerId: string, pid: number): void {
  const report: DnsReport = { kind: "served", containerId };
  try {
    const kept = socketsOfShim(pid);
    const sockets = kept ?? makeSockets(pid);
    server.serve(containerId, sockets);
    if (kept === undefined) report.made = { udp: sockets.udp.number, tcp: sockets.tcp.number };
  } catch (error) {
    // It has ended already: nobody is left to ask anything.
    if (!isErrno(error, "ENOENT", "ESRCH")) throw error;
  }
  port?.postMessage(report);
}

server.poller.watch(wake, EPOLLIN, () => {
  drainWakes(wake);
  for (;;) {
    const next = receiveMessageOnPort(port) as { message: DnsMessage } | undefined;
    if (next === undefined) return;
    try {
      take(next.message);
    } catch (error) {
      const { message } = next;
      const containerId = message.kind === "names" ? message.names.containerId : message.containerId;
      const reason = error instanceof Error ? error.message : String(error);
      port.postMessage({ kind: "failed", containerId, reason } satisfies DnsReport);
    }
  }
});

while (Atomics.load(stopped, 0) === 0) server.turn();
server[Symbol.dispose]();
