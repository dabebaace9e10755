/**
 * A process that serves names as the daemon does, to be killed by tests: `node serve.ts PID NAMES`, NAMES being
 * a ContainerNames in JSON. Prints "serving".
 */
import { DnsService } from "#networks/dns/dns-service.ts";

const [pid, names] = process.argv.slice(2);
const service = new DnsService(() => undefined);
const told = JSON.parse(names ?? "");
service.setNames(told);
service.serve(told.containerId, Number(pid));
console.log("serving");
setInterval(() => {}, 1000);
