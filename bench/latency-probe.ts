/**
 * A process that asks an engine something small every 10 ms and notes how long each answer took, until told to stop.
 *
 * A process of its own, with precedence over what is measured: what it waits for itself must not count.
 * Arguments: the API's socket. Sends `{ latencies }` (milliseconds) when it gets any message.
 */
import { Agent, request } from "node:http";
import { setPriority } from "node:os";

const [socketPath = ""] = process.argv.slice(2);
const everyMs = 10;
const paths = ["/_ping", "/containers/json"];
const agent = new Agent({ keepAlive: true });
const latencies: number[] = [];
let asked = 0;

setPriority(-15);
const timer = setInterval(() => {
  const path = paths[asked++ % paths.length];
  const begun = performance.now();
  const done = () => latencies.push(performance.now() - begun);
  const sent = request({ socketPath, path, agent }, (answer) => answer.resume().on("end", done));
  // An engine that does not answer at all is as slow as one that can be.
  sent.on("error", () => latencies.push(Number.POSITIVE_INFINITY));
  sent.end();
}, everyMs);

process.on("message", () => {
  clearInterval(timer);
  process.send?.({ latencies }, () => process.exit());
});
process.on("disconnect", () => process.exit());
