/**
 * A process that asks an engine something small every 10 ms and notes how long each answer took, until told to stop.
 *
 * A process of its own, with precedence over what is measured: what it waits for itself must not count.
 * Arguments: the API's socket. Sends "ready" once it measures, and `{ latencies }` (milliseconds) when it gets any message.
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
// The first answers tell how long Node takes to make its first requests.
for (const path of paths) await ask(path);
latencies.length = 0;
const timer = setInterval(() => void ask(paths[asked++ % paths.length] ?? ""), everyMs);
process.send?.("ready");

process.on("message", () => {
  clearInterval(timer);
  process.send?.({ latencies }, () => process.exit());
});
process.on("disconnect", () => process.exit());

function ask(path: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const begun = performance.now();
  const took = (milliseconds: number) => {
    latencies.push(milliseconds);
    resolve();
  };
  const sent = request({ socketPath, path, agent }, (answer) => {
    answer.resume().on("end", () => took(performance.now() - begun));
  });
  // An engine that does not answer at all is as slow as one can be.
  sent.on("error", () => took(Number.POSITIVE_INFINITY));
  sent.end();
  return promise;
}
