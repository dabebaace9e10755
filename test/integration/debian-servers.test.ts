/**
 * Debian's own nginx, dig and curl on a user's network: served inside a container, asked by name from another, and through
 * the published port from a neighbour of the host, by both families. Needs root, and those packages.
 */
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { inLab, Namespace, runInLab, sh } from "./network-lab.ts";

const IMAGE = "berth/busybox";
const PROGRAMS = ["/usr/sbin/nginx", "/usr/bin/dig", "/usr/bin/curl"];
const HOST = ["192.0.2.2", "2001:db8:1::2"] as const;
const NEIGHBOUR = ["192.0.2.9", "2001:db8:1::9"] as const;
/** Of the container, and of the host. */
const PORT = "8088";

const lacking = PROGRAMS.filter((program) => !existsSync(program));
const skip =
  process.getuid?.() !== 0 ? "needs root" : lacking.length > 0 ? `needs ${lacking.join(", ")}` : false;

if (!inLab) {
  test("nginx, dig and curl in a laboratory", { skip }, () => runInLab(import.meta.filename));
} else {
  const directory = mkdtempSync(join(tmpdir(), "berth-debian-servers-"));
  chmodSync(directory, 0o755);
  let daemon: TestDaemon;
  let neighbour: Namespace;
  const ok = (...args: string[]) => daemon.ok(...args);

  /** The host's programs and libraries, over those of the image. */
  const ofHost = ["/usr", "/lib", "/lib64"]
    .filter((path) => existsSync(path))
    .flatMap((path) => ["-v", `${path}:${path}:ro`]);

  before(async () => {
    sh("ip link set lo up");
    neighbour = await Namespace.make();
    sh(
      `ip link add eth0 type veth peer name eth0 netns ${neighbour.pid};
       ip addr add ${HOST[0]}/24 dev eth0; ip -6 addr add ${HOST[1]}/64 dev eth0 nodad; ip link set eth0 up`,
    );
    await neighbour.sh(
      `ip addr add ${NEIGHBOUR[0]}/24 dev eth0; ip link set eth0 up;
       ip -6 addr add ${NEIGHBOUR[1]}/64 dev eth0 nodad`,
    );
    daemon = await TestDaemon.start();
    daemon.loadBusybox();
    ok("network", "create", "--ipv6", "--subnet", "10.88.0.0/24", "--subnet", "fd88::/64", "shop");
    const conf = join(directory, "conf");
    mkdirSync(conf);
    writeFileSync(join(conf, "nginx.conf"), config());
    const serving = ["--network", "shop", "--network-alias", "www", "-p", `${PORT}:${PORT}`];
    for (const number of [1, 2]) {
      const own = number === 1 ? serving : serving.slice(0, -2);
      const mounts = [...ofHost, "-v", `${conf}:/conf:ro`, "--tmpfs", "/run/nginx"];
      const server = ["/usr/sbin/nginx", "-e", "stderr", "-c", "/conf/nginx.conf"];
      ok(
        "run",
        "-d",
        "--name",
        `web${number}`,
        "--hostname",
        `web${number}`,
        ...own,
        ...mounts,
        IMAGE,
        ...server,
      );
    }
    ok("run", "-d", "--name", "asking", "--network", "shop", ...ofHost, IMAGE, "sleep", "1000");
    await eventually(() => assert.match(curl(`http://web1:${PORT}/`), /^web1 /));
    await eventually(() => assert.match(curl(`http://web2:${PORT}/`), /^web2 /));
  });

  after(async () => {
    await daemon?.stop();
    await neighbour?.end();
    rmSync(directory, { recursive: true });
  });

  /** Answers who serves, and whom it sees. */
  function config(): string {
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((kind) => `${kind}_temp_path /run/nginx/${kind};`)
      .join(" ");
    return `
      daemon off; user root; pid /run/nginx/pid;
      events {}
      http {
        access_log off; ${temporary}
        server { listen ${PORT}; listen [::]:${PORT}; location / { return 200 "$hostname $remote_addr\\n"; } }
      }`;
  }

  const curl = (url: string): string => ok("exec", "asking", "/usr/bin/curl", "-sS", "--max-time", "20", url);
  const dig = (...args: string[]): string[] =>
    ok("exec", "asking", "/usr/bin/dig", "+short", ...args)
      .split("\n")
      .sort();
  const addressOf = (name: string, field: string): string =>
    ok("inspect", "-f", `{{.NetworkSettings.Networks.shop.${field}}}`, name);

  describe("Debian's servers and clients", () => {
    test("dig: both families, a shared alias, back from the address, over UDP and TCP, what is not there", () => {
      const addresses = ["web1", "web2"].map((name) => addressOf(name, "IPAddress"));
      for (const transport of ["+notcp", "+tcp"]) {
        assert.deepEqual(dig(transport, "web1", "A"), addresses.slice(0, 1));
        assert.deepEqual(dig(transport, "web1", "AAAA"), [addressOf("web1", "GlobalIPv6Address")]);
        assert.deepEqual(dig(transport, "www", "A"), [...addresses].sort());
        assert.deepEqual(dig(transport, "-x", addresses[0] ?? ""), ["web1.shop."]);
      }
    });

    test("curl inside: by name, by alias, by both families; every server of an alias is found", () => {
      assert.equal(curl(`http://web1:${PORT}/`).split(" ")[0], "web1");
      const own = [addressOf("asking", "IPAddress"), addressOf("asking", "GlobalIPv6Address")];
      assert.equal(curl(`http://${addressOf("web2", "IPAddress")}:${PORT}/`), `web2 ${own[0]}`);
      assert.equal(curl(`http://[${addressOf("web2", "GlobalIPv6Address")}]:${PORT}/`), `web2 ${own[1]}`);
      const served = dig("www", "A").map((address) => curl(`http://${address}:${PORT}/`).split(" ")[0]);
      assert.deepEqual(served.sort(), ["web1", "web2"]);
    });

    test("curl from a neighbour: the published port, by both families, sees who asks", async () => {
      const asked = (url: string) => neighbour.sh(`curl -sS --max-time 20 ${url}`);
      assert.equal(await asked(`http://${HOST[0]}:${PORT}/`), `web1 ${NEIGHBOUR[0]}\n`);
      assert.equal(await asked(`http://[${HOST[1]}]:${PORT}/`), `web1 ${NEIGHBOUR[1]}\n`);
    });

    test("curl on the host: loopback and own address", () => {
      const asked = (url: string) => sh(`curl -sS --max-time 20 ${url}`);
      assert.equal(asked(`http://127.0.0.1:${PORT}/`), "web1 10.88.0.1\n");
      assert.equal(asked(`http://[::1]:${PORT}/`), "web1 fd88::1\n");
      assert.match(asked(`http://${HOST[0]}:${PORT}/`), /^web1 /);
    });
  });
}
