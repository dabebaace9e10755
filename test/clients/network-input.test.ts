/**
 * Networks that cannot be, and what Docker says of them: the same requests to Debian's dockerd and to Berth, by the bare
 * API and by the real command line. Later releases' words are put in place of those that they have changed.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { dockerCliMissing } from "#test/clients/docker-cli.ts";
import { type ParityEngine, ParityEngines, type Reply } from "#test/parity/engines.ts";

const missing = dockerCliMissing();
/** No other test's: these networks are on the machine's own bridges for a moment. */
const S = "10.219";
const pool = (Subnet: string, more: object = {}) => ({ IPAM: { Config: [{ Subnet, ...more }] } });
const at = (last: number) => ({ IPAMConfig: { IPv4Address: `${S}.0.${last}` } });

/** Of the release that the API here is of, where it says another thing than Debian's. */
const NEWER: readonly [RegExp, string][] = [
  [/^Pool overlaps/, "invalid pool request: Pool overlaps"],
  [
    /^Invalid subnet (\S+) : invalid CIDR address: \S+$/,
    "invalid network config:\ninvalid subnet $1: invalid CIDR block notation",
  ],
  [/^-o parent interface does was not found/, "-o parent interface was not found"],
  [/^Invalid filter /, "invalid filter "],
  [/^invalid value for filter 'dangling'.*$/, "invalid filter 'dangling=[zzz]'"],
  [/^invalid name: *$/, "invalid name: name is empty"],
  // Theirs come in any order, another one each time.
  [/^(failed to allocate secondary ip address) \(a:(10\.219\.1\.9)/, "$1 (b:$2"],
];

/** A request to make a network, and whether there is none of it in dockerd's answer to compare with: why. */
type Create = readonly [what: string, body: object, apart?: string];

const creates: readonly Create[] = [
  ["a name that is taken", { Name: "net", CheckDuplicate: true }],
  ["a name of nothing", { Name: "", CheckDuplicate: true }, "Debian's looks for the name first"],
  ["a name of blanks", { Name: " " }],
  ["a default network's name", { Name: "bridge" }],
  ["another default network's name", { Name: "none" }],
  ["the default's name", { Name: "default" }],
  ["a part of another network's subnet", pool(`${S}.0.128/25`)],
  ["a subnet around another network's", pool(`${S}.0.0/16`)],
  ["all addresses there are", pool("0.0.0.0/0")],
  ["a subnet that is none", pool("zzz")],
  ["a subnet longer than an address", pool("10.0.0.0/99")],
  ["a subnet of no address", pool("300.0.0.0/8")],
  ["two subnets on a bridge", { IPAM: { Config: [{ Subnet: `${S}.2.0/24` }, { Subnet: `${S}.3.0/24` }] } }],
  ["the network's address for a gateway", pool(`${S}.1.0/24`, { Gateway: `${S}.1.0` })],
  ["the address for all hosts for a gateway", pool(`${S}.1.0/24`, { Gateway: `${S}.1.255` })],
  [
    "the gateway's address for another",
    pool(`${S}.1.0/24`, { Gateway: `${S}.1.1`, AuxiliaryAddresses: { a: `${S}.1.1` } }),
  ],
  [
    "one address for two",
    pool(`${S}.1.0/24`, { Gateway: `${S}.1.1`, AuxiliaryAddresses: { a: `${S}.1.9`, b: `${S}.1.9` } }),
  ],
  ["a driver that is not there", { Driver: "nosuch" }],
  ["a second host network", { Driver: "host" }],
  ["a second network of none", { Driver: "null" }],
  ["an address driver that is not there", { IPAM: { Driver: "nosuch" } }],
  ["a bridge without addresses", { IPAM: { Driver: "null" } }],
  ["a subnet of no addresses", { IPAM: { Driver: "null", Config: [{ Subnet: `${S}.1.0/24` }] } }],
  ["a swarm's network", { Scope: "swarm" }],
  ["the whole world's network", { Scope: "global" }],
  ["a swarm's mesh", { Ingress: true }],
  ["an overlay", { Driver: "overlay" }],
  ["a number that is none", { Options: { "com.docker.network.driver.mtu": "zzz" } }],
  ["a yes that is none", { Options: { "com.docker.network.bridge.enable_icc": "zzz" } }],
  ["a template that is run", { ConfigOnly: true, Internal: true }],
  ["a template that is joined", { ConfigOnly: true, Attachable: true }],
  ["a template of a template", { ConfigOnly: true, ConfigFrom: { Network: "template" } }],
  ["a template that is taken", { Name: "template", ConfigOnly: true, CheckDuplicate: true }],
  ["of a template that is not there", { ConfigFrom: { Network: "nosuch" } }],
  ["of a network that is no template", { ConfigFrom: { Network: "net" } }],
  ["of a template, with a label", { ConfigFrom: { Network: "template" }, Labels: { a: "b" } }],
  ["of a template, with a subnet", { ConfigFrom: { Network: "template" }, ...pool(`${S}.1.0/24`) }],
  ["of a template, with an option", { ConfigFrom: { Network: "template" }, Options: { a: "b" } }],
  ["macvlan on the loopback", { Driver: "macvlan", Options: { parent: "lo" } }],
  ["macvlan on nothing", { Driver: "macvlan", Options: { parent: "nosuch0" } }],
  ["macvlan on a part of nothing", { Driver: "macvlan", Options: { parent: "nosuch0.5" } }],
  ["macvlan on no part", { Driver: "macvlan", Options: { parent: "nosuch0.x" } }],
  ["macvlan on too many parts", { Driver: "macvlan", Options: { parent: "a.b.c" } }],
  ["macvlan on a part beyond all", { Driver: "macvlan", Options: { parent: "lo.5000" } }],
  ["macvlan in no mode", { Driver: "macvlan", Options: { macvlan_mode: "zzz" } }],
  ["ipvlan in no mode", { Driver: "ipvlan", Options: { ipvlan_mode: "zzz" } }],
  ["ipvlan on the loopback", { Driver: "ipvlan", Options: { parent: "lo" } }],
];

/** Requests about networks and containers that are there: `net` (chosen subnet), `auto`, `one` on net, `idle` stopped. */
const requests: readonly (readonly [what: string, method: string, path: string, body?: object])[] = [
  ["a network in use", "DELETE", "/networks/net"],
  ["a template in use", "DELETE", "/networks/template"],
  ["a default network", "DELETE", "/networks/host"],
  ["a network that is not there", "DELETE", "/networks/nosuch"],
  ["looking for one that is not there", "GET", "/networks/nosuch"],
  ["twice on one network", "POST", "/networks/net/connect", { Container: "one" }],
  ["nobody", "POST", "/networks/net/connect", { Container: "nosuch" }],
  ["nobody to a network that is not there", "POST", "/networks/nosuch/connect", { Container: "nosuch" }],
  ["to a network that is not there", "POST", "/networks/nosuch/connect", { Container: "one" }],
  ["to none", "POST", "/networks/none/connect", { Container: "one" }],
  ["to the host's", "POST", "/networks/host/connect", { Container: "one" }],
  ["to a template", "POST", "/networks/template/connect", { Container: "one" }],
  [
    "an address by number where the subnet is not chosen",
    "POST",
    "/networks/auto/connect",
    { Container: "one", EndpointConfig: at(5) },
  ],
  ["off a network it is not on", "POST", "/networks/auto/disconnect", { Container: "one" }],
  ["nobody off a network", "POST", "/networks/net/disconnect", { Container: "nosuch" }],
  ["nobody off a network by force", "POST", "/networks/net/disconnect", { Container: "nosuch", Force: true }],
  ["off a network that is not there", "POST", "/networks/nosuch/disconnect", { Container: "one" }],
  ["a filter that is not there", "GET", `/networks?filters=${encodeURIComponent('{"zzz":["1"]}')}`],
  ["a type that is not there", "GET", `/networks?filters=${encodeURIComponent('{"type":["zzz"]}')}`],
  ["neither yes nor no", "GET", `/networks?filters=${encodeURIComponent('{"dangling":["zzz"]}')}`],
  [
    "pruning by a filter that is not there",
    "POST",
    `/networks/prune?filters=${encodeURIComponent('{"zzz":["1"]}')}`,
  ],
];

/** Containers that cannot start where they want to be: the start is refused, in the same words. */
const starts: readonly (readonly [what: string, network: string, settings: object])[] = [
  ["an address that is taken", "net", at(77)],
  ["an address that is none", "net", { IPAMConfig: { IPv4Address: "zzz" } }],
  ["an address by number where the subnet is not chosen", "auto", at(5)],
  ["the gateway's address", "net", at(1)],
  ["the network's own address", "net", at(0)],
  ["the address for all hosts", "net", at(255)],
  ["a network that is full", "small", {}],
  ["a template", "template", {}],
  ["a network that is not there", "nosuch", {}],
];

/** Command lines, told by docker's own client or by the daemon. */
const lines = [
  `network create --subnet ${S}.1.0/24 --gateway 10.1.1.1 x`,
  `network create --subnet ${S}.1.0/24 --aux-address a=10.7.7.7 x`,
  `network create --subnet ${S}.1.0/24 --ip-range 10.7.0.0/24 x`,
  `network create --ip-range ${S}.1.0/24 x`,
  "network rm net nosuch",
  "network inspect -f {{.Name}} nosuch net",
  "network inspect --verbose -f {{.Name}} net",
  "network ls --filter type=builtin --format {{.Name}}",
  "network ls --filter driver=null --format {{.Name}}",
  "network ls --filter driver=nosuch",
  "network ls --filter scope=local --filter name=ne --format {{.Name}}",
  "network ls --filter label=a --format {{.Name}}",
  "network ls --filter label=a=c --format {{.Name}}",
  "network prune -f --filter label=nosuch",
  "run --rm --network-alias x --network bridge berth/busybox true",
];

describe(`networks that cannot be${missing ? ` (skipped: ${missing})` : ""}`, { skip: missing }, () => {
  let engines: ParityEngines;
  before(async () => {
    // The machine's firewall is no part of this, and other tests' at the same time.
    engines = await ParityEngines.start(["--iptables=false"]);
    for (const engine of [engines.dockerd, engines.berth]) await furnish(engine);
  });
  after(async () => {
    for (const engine of [engines.dockerd, engines.berth]) {
      engine.docker(["rm", "-f", "one", "two", "idle"]);
      engine.docker(["network", "prune", "-f"]);
      engine.docker(["network", "rm", "template"]);
    }
    await engines[Symbol.asyncDispose]();
  });

  async function furnish(engine: ParityEngine): Promise<void> {
    const made = async (path: string, body: object) => {
      const { status, message } = await engine.request("POST", path, body);
      assert.ok(status < 300, `${engine.name} ${path}: ${message}`);
    };
    await made("/networks/create", {
      Name: "net",
      Labels: { a: "b" },
      ...pool(`${S}.0.0/24`, { Gateway: `${S}.0.1` }),
    });
    await made("/networks/create", { Name: "auto" });
    await made("/networks/create", { Name: "small", ...pool(`${S}.4.0/30`) });
    await made("/networks/create", { Name: "template", ConfigOnly: true, ...pool(`${S}.9.0/24`) });
    await made("/networks/create", { Name: "copy", ConfigFrom: { Network: "template" } });
    const run = (name: string, network: string, ...more: string[]) => {
      const line = [
        "run",
        "-d",
        "--name",
        name,
        "--network",
        network,
        ...more,
        "berth/busybox",
        "sleep",
        "1000",
      ];
      const ran = engine.docker(line);
      assert.equal(ran.code, 0, ran.stderr);
    };
    run("one", "net", "--ip", `${S}.0.77`);
    run("two", "small");
    await made("/containers/create?name=idle", { Image: "berth/busybox", Cmd: ["true"] });
  }

  /** Messages; what is a mistake of the client's to one may be a conflict to the other. */
  function same(theirs: Reply, ours: Reply): void {
    const renewed = NEWER.reduce((text, [old, now]) => text.replace(old, now), theirs.message.trim());
    assert.equal(withoutFrame(ours.message, renewed), renewed);
    assert.equal(ours.status < 300, theirs.status < 300);
  }

  /** Later releases say first what is wrong with what; and what can be done about it comes after Docker's words. */
  function withoutFrame(ours: string, theirs: string): string {
    const text = ours.replace(/^(invalid config for network \S+: )?invalid endpoint settings:\n/, "");
    return text.startsWith(`${theirs}\n`) ? theirs : text;
  }

  for (const [what, body, apart] of creates) {
    it(`making ${what}`, async () => {
      const request = { Name: "x", ...body };
      const theirs = await engines.dockerd.request("POST", "/networks/create", request);
      const ours = await engines.berth.request("POST", "/networks/create", request);
      assert.ok(ours.status >= 400, "refused");
      if (apart === undefined) same(theirs, ours);
    });
  }

  for (const [what, method, path, body] of requests) {
    it(`${method === "GET" ? "" : `${method} `}${what}`, async () => {
      same(
        await engines.dockerd.request(method, path, body),
        await engines.berth.request(method, path, body),
      );
    });
  }

  for (const [what, network, settings] of starts) {
    it(`starting at ${what}`, async () => {
      const [theirs, ours] = [
        await start(engines.dockerd, network, settings),
        await start(engines.berth, network, settings),
      ];
      assert.ok(ours.status >= 400, "refused");
      same(theirs, ours);
    });
  }

  async function start(engine: ParityEngine, network: string, settings: object): Promise<Reply> {
    const body = {
      Image: "berth/busybox",
      Cmd: ["true"],
      HostConfig: { NetworkMode: network },
      NetworkingConfig: { EndpointsConfig: { [network]: settings } },
    };
    const made = await engine.request("POST", "/containers/create?name=tried", body);
    if (made.status >= 300) return made;
    const started = await engine.request("POST", "/containers/tried/start");
    await engine.request("DELETE", "/containers/tried?force=1");
    return started;
  }

  for (const line of lines) {
    it(line, () => {
      const [theirs, ours] = [engines.dockerd.docker(line.split(" ")), engines.berth.docker(line.split(" "))];
      assert.deepEqual(ours, theirs);
    });
  }

  it("networks that nobody is on are found, where Debian's takes all for such", () => {
    const { stdout } = engines.berth.docker(
      "network ls --filter dangling=true --filter type=custom --format {{.Name}}".split(" "),
    );
    assert.equal(stdout, "auto\ncopy\ntemplate\n");
  });
});
