/**
 * Published ports by docker's command line with each back end of the firewall, and Debian's dockerd started and stopped
 * beside them.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, describe, it } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { Dockerd } from "#test/fixtures/peer-engines.ts";

/** One that answers every request with a word, on port 80. */
const SERVER = 'while true; do printf "HTTP/1.0 200 OK\\r\\n\\r\\nhere" | nc -l -p 80 > /dev/null; done';

async function answerAt(port: string): Promise<string> {
  return await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } }).then((answer) =>
    answer.text(),
  );
}

for (const backend of ["iptables", "nftables"] as const) {
  describe(`the firewall by ${backend}`, () => {
    let daemon: TestDaemon;
    after(() => daemon?.stop());

    it("publishes a port, says by what, and removes it", async () => {
      daemon = await TestDaemon.start({
        subnet: 84,
        flags: [`--firewall-backend=${backend}`, "--icc=false"],
      });
      daemon.loadBusybox();
      const info = JSON.parse(daemon.ok("info", "--format", "{{json .FirewallBackend}}")) as {
        Driver: string;
      };
      assert.equal(info.Driver, backend);
      daemon.ok("run", "-d", "--name", "web", "-p", "80", "berth/busybox", "sh", "-c", SERVER);
      const port = portOf(daemon);
      await eventually(async () => assert.equal(await answerAt(port), "here"));
      assert.match(rulesWith(backend, port), new RegExp(`\\b${port}\\b`));
    });

    it("goes on while dockerd starts and stops beside it, and when the rules are flushed by others", async () => {
      const port = portOf(daemon);
      {
        await using _peer = await Dockerd.start();
        await eventually(async () => assert.equal(await answerAt(port), "here"));
      }
      await eventually(async () => assert.equal(await answerAt(port), "here"));
      await eventually(() => assert.match(rulesWith(backend, port), new RegExp(`\\b${port}\\b`)));
    });

    it("opens what is exposed to who links to it, where containers are kept apart", async () => {
      daemon.ok("run", "-d", "--name", "db", "--expose", "80", "berth/busybox", "sh", "-c", SERVER);
      const address = daemon.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db");
      const request = `printf "GET / HTTP/1.0\\r\\n\\r\\n" | nc -w 2 ${address} 80 | tail -n 1`;
      const asking = (...options: string[]) =>
        daemon.docker("run", "--rm", ...options, "berth/busybox", "sh", "-c", request).stdout;
      await eventually(() => assert.equal(asking("--link", "db"), "here"));
      assert.equal(asking(), "");
    });

    it("has nothing left of a container's port when it ends", async () => {
      const port = portOf(daemon);
      daemon.ok("rm", "-f", "web");
      await eventually(() => assert.doesNotMatch(rulesWith(backend, port), new RegExp(`\\b${port}\\b`)));
      await assert.rejects(answerAt(port));
    });

    function rulesWith(kind: typeof backend, port: string): string {
      const [program = "", ...args] =
        kind === "iptables"
          ? ["iptables", "-w", "-t", "nat", "-S", `BERTH-${daemon.bridge}`]
          : ["nft", "list", "table", "ip", `berth-${daemon.bridge}`];
      const text = execFileSync(program, args, { encoding: "utf8" });
      return text
        .split("\n")
        .filter((line) => new RegExp(`\\b${port}\\b`).test(line))
        .join("\n");
    }
  });
}

function portOf(daemon: TestDaemon): string {
  return daemon.ok("port", "web", "80").split("\n")[0]?.split(":").at(-1) ?? "";
}
