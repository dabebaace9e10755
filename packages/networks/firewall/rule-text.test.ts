import assert from "node:assert/strict";
import { test } from "node:test";
import { chainNames } from "#networks/firewall/bridge-chains.ts";
import type { BridgeRules, BridgeState, LinkRule, PortRule } from "#networks/firewall/desired-rules.ts";
import { addedText, changeText, isIntact, portsText } from "#networks/firewall/rule-text.ts";
import { SavedRules } from "#networks/firewall/saved-rules.ts";
import { parseCidr } from "#networks/ipam/prefix.ts";

const port: PortRule = {
  protocol: "tcp",
  hostIp: "0.0.0.0",
  hostPort: 8080,
  containerIp: "172.17.0.2",
  containerPort: 80,
};
const port6 = { ...port, hostIp: "::", containerIp: "fd00::2" };
const link: LinkRule = { from: "172.17.0.3", to: "172.17.0.2", protocol: "tcp", port: 6379, peer: "e" };

function bridge(
  changes: Partial<BridgeRules> = {},
  parts: Partial<Pick<BridgeState, "ports" | "links">> = {},
): BridgeState {
  const of = (cidr: string): BridgeRules => {
    const subnet = parseCidr(cidr)?.prefix;
    assert.ok(subnet);
    return { bridge: "berth0", subnet, masquerade: true, icc: true, internal: false, ...changes };
  };
  return {
    bridge: "berth0",
    rules: { 4: of("172.17.0.0/16"), 6: of("fd00::/64") },
    ports: [],
    links: [],
    ...parts,
  };
}

const none = new SavedRules("");

/** What installs a bridge where there is nothing. */
function installed(state: BridgeState, family: 4 | 6 = 4): string {
  return changeText(family, { whole: [state], gone: [] }, none);
}

/** The lines of one table of a restore text. */
function table(text: string, name: string): string[] {
  const match = new RegExp(`^\\*${name}\\n([^*]*?)COMMIT$`, "m").exec(text);
  assert.ok(match?.[1] !== undefined, `table ${name}`);
  return match[1].trim().split("\n");
}

/** What iptables-save would print after a text: chains that are named are empty, the rest is done in order. */
function saving(text: string): string {
  return text
    .replace(/^-N (\S+)$/gm, ":$1 - [0:0]")
    .replace(/^-I (\S+) \d+ /gm, "-A $1 ")
    .replace(/^-I /gm, "-A ");
}

test("the whole of a bridge's nat table", () => {
  assert.deepEqual(table(installed(bridge({}, { ports: [port, port6] })), "nat"), [
    ":BERTH-berth0 - [0:0]",
    ":BERTH-POST-berth0 - [0:0]",
    "-N DOCKER",
    "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
    "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER",
    "-A BERTH-berth0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
    "-A BERTH-POST-berth0 -s 172.17.0.0/16 ! -o berth0 -j MASQUERADE",
    "-A BERTH-POST-berth0 -s 127.0.0.0/8 -o berth0 -j MASQUERADE",
    "-A BERTH-POST-berth0 -s 172.17.0.0/16 -o berth0 -m conntrack --ctstate DNAT -j MASQUERADE",
    "-I DOCKER ! -d 127.0.0.0/8 -j BERTH-berth0",
    "-A PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j BERTH-berth0",
    "-A OUTPUT -m addrtype --dst-type LOCAL -j BERTH-berth0",
    "-A POSTROUTING -j BERTH-POST-berth0",
  ]);
});

test("the same in IPv6: nothing for its loopback, and addresses of a link go no further", () => {
  const text = installed(bridge({}, { ports: [port, port6, { ...port6, hostIp: "2001:db8::1" }] }), 6);
  assert.deepEqual(table(text, "nat"), [
    ":BERTH-berth0 - [0:0]",
    ":BERTH-POST-berth0 - [0:0]",
    "-N DOCKER",
    "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
    "-A OUTPUT ! -d ::1/128 -m addrtype --dst-type LOCAL -j DOCKER",
    "-A BERTH-berth0 -s fe80::/10 -j RETURN",
    "-A BERTH-berth0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00::2]:80",
    "-A BERTH-berth0 -d 2001:db8::1/128 -p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00::2]:80",
    "-A BERTH-POST-berth0 -s fd00::/64 ! -o berth0 -j MASQUERADE",
    "-A BERTH-POST-berth0 -s fd00::/64 -o berth0 -m conntrack --ctstate DNAT -j MASQUERADE",
    "-I DOCKER ! -d ::1/128 -j BERTH-berth0",
    "-A PREROUTING ! -d ::1/128 -m addrtype --dst-type LOCAL -j BERTH-berth0",
    "-A OUTPUT ! -d ::1/128 -m addrtype --dst-type LOCAL -j BERTH-berth0",
    "-A POSTROUTING -j BERTH-POST-berth0",
  ]);
  assert.ok(!text.includes("127."));
  assert.ok(text.includes("-d ::1/128 -j DROP"));
});

test("the filter table: the user's chain is first, Docker's behind it, ours within that", () => {
  const lines = table(installed(bridge()), "filter");
  assert.deepEqual(lines.slice(1, 6), [
    "-N DOCKER-USER",
    "-A DOCKER-USER -j RETURN",
    "-N DOCKER-FORWARD",
    "-I FORWARD 1 -j DOCKER-FORWARD",
    "-I FORWARD 1 -j DOCKER-USER",
  ]);
  assert.equal(lines.at(-1), "-A DOCKER-FORWARD -j BERTH-FWD-berth0");
  const saved = new SavedRules(
    "*filter\n:DOCKER-USER - [0:0]\n-A FORWARD -i wg0 -j ACCEPT\n-A FORWARD -j DOCKER-USER\n-A FORWARD -j LOG\nCOMMIT",
  );
  const beside = table(changeText(4, { whole: [bridge()], gone: [] }, saved), "filter");
  assert.deepEqual(beside.slice(1, 3), ["-N DOCKER-FORWARD", "-I FORWARD 3 -j DOCKER-FORWARD"]);
  assert.ok(!beside.join().includes("DOCKER-USER"), "the user's chain is as it was");
});

test("without masquerading, containers keep their addresses; what loopback needs stays", () => {
  const lines = table(installed(bridge({ masquerade: false })), "nat").join("\n");
  assert.ok(!lines.includes("! -o berth0 -j MASQUERADE"));
  assert.ok(lines.includes("-s 127.0.0.0/8 -o berth0 -j MASQUERADE"));
});

test("ports anew, ports in addition; UDP on one address", () => {
  const local = { ...port, protocol: "udp", hostIp: "127.0.0.1" } as const;
  const rule = "-d 127.0.0.1/32 -p udp -m udp --dport 8080 -j DNAT --to-destination 172.17.0.2:80";
  assert.equal(
    portsText([bridge({}, { ports: [local, port6] })], 4),
    `*nat\n:BERTH-berth0 - [0:0]\n-A BERTH-berth0 ${rule}\nCOMMIT\n`,
  );
  assert.equal(addedText([{ bridge: "berth0", port: local }]), `*nat\n-A BERTH-berth0 ${rule}\nCOMMIT\n`);
  assert.equal(addedText([]), "");
});

test("installing again takes our jumps out first, and no others", () => {
  const saved = [
    "*nat",
    ":PREROUTING ACCEPT [0:0]",
    ":DOCKER - [0:0]",
    ":BERTH-berth0 - [0:0]",
    ":BERTH-berth01 - [0:0]",
    "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
    "-A PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j BERTH-berth0",
    "-A DOCKER ! -d 127.0.0.0/8 -j BERTH-berth01",
    "-A DOCKER ! -d 127.0.0.0/8 -j BERTH-berth0",
    "COMMIT",
    "*filter",
    ":DOCKER-USER - [0:0]",
    "-A FORWARD -j BERTH-FWD-berth0",
    "-A BERTH-FWD-berth0 -j DOCKER-USER",
    "COMMIT",
  ].join("\n");
  const text = changeText(4, { whole: [bridge()], gone: [] }, new SavedRules(saved));
  assert.deepEqual(
    text.split("\n").filter((line) => line.startsWith("-D")),
    [
      "-D PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j BERTH-berth0",
      "-D DOCKER ! -d 127.0.0.0/8 -j BERTH-berth0",
      "-D FORWARD -j BERTH-FWD-berth0",
    ],
  );
  assert.ok(!text.includes(":DOCKER"), "a chain that is named is emptied: others' must not be");
  assert.ok(!text.includes("-N DOCKER\n"));
});

test("what is gone leaves nothing, and no empty chain of Docker's but the user's", () => {
  assert.equal(changeText(4, { whole: [], gone: ["berth0"] }, none), "");
  const own = "*raw\n:BERTH-GUARD-berth0 - [0:0]\n-A PREROUTING -i berth0 -j BERTH-GUARD-berth0\nCOMMIT\n";
  assert.equal(
    changeText(4, { whole: [], gone: ["berth0"] }, new SavedRules(own)),
    "*raw\n-D PREROUTING -i berth0 -j BERTH-GUARD-berth0\n-F BERTH-GUARD-berth0\n-X BERTH-GUARD-berth0\nCOMMIT\n",
  );
  const saved = saving(installed(bridge({}, { ports: [port] })));
  const gone = (text: string) => changeText(4, { whole: [], gone: ["berth0"] }, new SavedRules(text));
  const text = gone(saved);
  for (const line of [
    "-D PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
    "-X DOCKER",
    "-D FORWARD -j DOCKER-FORWARD",
    "-X DOCKER-FORWARD",
  ]) {
    assert.ok(text.includes(`${line}\n`), line);
  }
  assert.ok(!text.includes("DOCKER-USER"));
  const second = saved.replace(":DOCKER -", ":DOCKER - [0:0]\n-A DOCKER -i docker0 -j RETURN\n:X -");
  assert.ok(!gone(second).includes("-X DOCKER\n"), "another's rule is in it");
  const dockerd = saved.replace("*filter", "*filter\n:DOCKER - [0:0]");
  assert.ok(!gone(dockerd).includes("-X DOCKER"), "dockerd is there");
});

test("a flush is noticed, and so is each jump and each rule that is missing", () => {
  const state = bridge({}, { ports: [port], links: [link] });
  const saved = saving(installed(state));
  assert.ok(isIntact([state], 4, new SavedRules(saved)));
  assert.ok(!isIntact([state], 4, none));
  const lines = saved.split("\n");
  for (const [at, line] of lines.entries()) {
    // What the user's own chain holds is the user's.
    if (!line.startsWith("-A") || line.startsWith("-A DOCKER-USER")) continue;
    const less = lines.filter((_, index) => index !== at).join("\n");
    assert.ok(!isIntact([state], 4, new SavedRules(less)), line);
  }
});

test("icc=false: frames between containers are let through only for published ports and links", () => {
  const closed = installed(bridge({ icc: false }, { links: [link] }));
  const pair = "-s 172.17.0.3/32 -d 172.17.0.2/32 -i berth0 -o berth0 -p tcp -m tcp --dport 6379";
  assert.deepEqual(table(closed, "mangle").slice(1, 3), [
    `-A BERTH-GUARD-berth0 ${pair} -j RETURN`,
    "-A BERTH-GUARD-berth0 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
  ]);
  const filter = table(closed, "filter");
  const dropped = filter.indexOf("-A BERTH-FWD-berth0 -i berth0 -o berth0 -j DROP");
  assert.ok(filter.indexOf(`-A BERTH-FWD-berth0 ${pair} -j ACCEPT`) < dropped);
});

test("chain names of the longest bridge name fit into iptables' 28 characters", () => {
  for (const name of Object.values(chainNames("fifteenletters0"))) assert.ok(name.length <= 28, name);
});

test("an internal network lets nothing pass its bridge, and translates nothing", () => {
  const text = installed(bridge({ internal: true }, { ports: [port] }));
  assert.ok(!text.includes("*nat"));
  const mangle = table(text, "mangle");
  assert.deepEqual(mangle.slice(1, 3), [
    "-A BERTH-GUARD-berth0 ! -i berth0 -j DROP",
    "-A BERTH-GUARD-berth0 ! -o berth0 -j DROP",
  ]);
  assert.ok(mangle.includes("-I FORWARD -i berth0 ! -o berth0 -j BERTH-GUARD-berth0"));
});

test("a routed network has no translation, and only published ports are open", () => {
  const state = bridge({ gatewayMode: "routed" }, { ports: [port] });
  const text = installed(state);
  assert.ok(!text.includes("*nat"));
  const open = "-d 172.17.0.2/32 ! -i berth0 -o berth0 -p tcp -m tcp --dport 80";
  assert.deepEqual(table(text, "mangle").slice(1, 4), [
    `-A BERTH-GUARD-berth0 ${open} -j RETURN`,
    "-A BERTH-GUARD-berth0 ! -i berth0 -o berth0 -p icmp -j RETURN",
    "-A BERTH-GUARD-berth0 ! -i berth0 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
  ]);
  assert.ok(table(text, "filter").includes(`-A BERTH-FWD-berth0 ${open} -j ACCEPT`));
  const ports = portsText([state], 4);
  assert.match(ports, /^\*mangle\n:BERTH-GUARD-berth0 /);
  assert.match(ports, /^\*filter\n:BERTH-FWD-berth0 /m);
});

test("an unprotected network translates, and keeps nothing out but what icc does", () => {
  const mode = { gatewayMode: "nat-unprotected" } as const;
  assert.deepEqual(table(installed(bridge(mode)), "mangle"), [
    ":BERTH-GUARD-berth0 - [0:0]",
    "-I FORWARD -o berth0 -j BERTH-GUARD-berth0",
  ]);
  assert.ok(
    table(installed(bridge(mode)), "nat")
      .join()
      .includes("MASQUERADE"),
  );
  assert.ok(
    table(installed(bridge(mode)), "filter").includes("-A BERTH-FWD-berth0 ! -i berth0 -o berth0 -j ACCEPT"),
  );
  assert.ok(
    table(installed(bridge({ ...mode, icc: false })), "mangle").includes(
      "-A BERTH-GUARD-berth0 -i berth0 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
    ),
  );
});
