/**
 * Questions of containers while the daemon is killed and replaced: they wait in sockets that the containers' shims keep, and
 * the next daemon answers them. Whether a container began on a user's network or got there while it ran makes no difference.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TestNamespace } from "#networks/dns/testing/namespace.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({
    subnet: 72,
    flags: ["--host-gateway-ip", "192.0.2.77", "--host-gateway-ip", "fd00::77"],
  });
  daemon.loadBusybox();
});
after(() => daemon.stop());

const ok = (...args: string[]) => daemon.ok(...args);

function inside(container: string): TestNamespace {
  return new TestNamespace(Number(ok("inspect", "-f", "{{.State.Pid}}", container)));
}

/** One question after the other, each asked once; over UDP and TCP in turns. */
class Asker {
  readonly #namespace: TestNamespace;
  readonly answers: string[] = [];
  #going = true;
  readonly #done: Promise<void>;

  constructor(namespace: TestNamespace) {
    this.#namespace = namespace;
    this.#done = this.#ask();
  }

  async #ask(): Promise<void> {
    for (let count = 0; this.#going; count++) {
      const [answer = "none"] = await this.#namespace.dig("web", count % 3 === 0 ? "+tcp" : "+notcp");
      this.answers.push(answer);
    }
  }

  async end(): Promise<void> {
    this.#going = false;
    await this.#done;
  }
}

test("no question is lost when the daemon is killed and replaced", async () => {
  ok("network", "create", "shop");
  ok("run", "-d", "--name", "web", "--network", "shop", IMAGE, "sleep", "1000");
  ok("run", "-d", "--name", "first", "--network", "shop", IMAGE, "sleep", "1000");
  ok("run", "-d", "--name", "later", IMAGE, "sleep", "1000");
  ok("network", "connect", "shop", "later");
  const web = ok("inspect", "-f", "{{.NetworkSettings.Networks.shop.IPAddress}}", "web");
  using first = inside("first");
  using later = inside("later");
  const askers = [new Asker(first), new Asker(later)];
  for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL"] as const) {
    for (const asker of askers) {
      const before = asker.answers.length;
      while (asker.answers.length < before + 5) await sleep(10);
    }
    await daemon.kill(signal);
    await sleep(300);
    await daemon.boot();
  }
  for (const asker of askers) {
    const before = asker.answers.length;
    while (asker.answers.length < before + 5) await sleep(10);
    await asker.end();
    assert.deepEqual([...new Set(asker.answers)], [web]);
  }
});

test("host-gateway is what the daemon was told", () => {
  const hosts = ok("run", "--rm", "--add-host", "up:host-gateway", IMAGE, "cat", "/etc/hosts");
  assert.match(hosts, /^192\.0\.2\.77\tup\nfd00::77\tup$/m);
});
