import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type BridgeRules,
  chainNames,
  installText,
  type PortRule,
  portsText,
  removalText,
} from "#networks/firewall/rule-text.ts";
import { parseCidr } from "#networks/ipam/prefix.ts";

const parsed = parseCidr("172.17.0.0/16");
assert.ok(parsed);
const rules: BridgeRules = {
  bridge: "berth0",
  subnet: parsed.prefix,
  masquerade: true,
  icc: true,
  internal: false,
};
const port: PortRule = {
  protocol: "tcp",
  hostIp: "0.0.0.0",
  hostPort: 8080,
  containerIp: "172.17.0.2",
  containerPort: 80,
};

/** The lines of one table of a restore text. */
function table(text: string, name: string): string[] {
  const match = new RegExp(`^\\*${name}\\n([^*]*?)COMMIT$`, "m").exec(text);
  assert.ok(match?.[1] !== undefined, `table ${name}`);
  return match[1].trim().split("\n");
}

test("the whole of a bridge's nat table", () => {
  assert.deepEqual(table(installText(rules, [port], ""), "nat"), [
    ":BERTH-berth0 - [0:0]",
    ":BERTH-POST-berth0 - [0:0]",
    "-A BERTH-berth0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
    "-A BERTH-POST-berth0 -s 172.17.0.0/16 ! -o berth0 -j MASQUERADE",
    "-A BERTH-POST-berth0 -s 127.0.0.0/8 -o berth0 -j MASQUERADE",
    "-A BERTH-POST-berth0 -s 172.17.0.0/16 -o berth0 -m conntrack --ctstate DNAT -j MASQUERADE",
    "-A PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j BERTH-berth0",
    "-A OUTPUT -m addrtype --dst-type LOCAL -j BERTH-berth0",
    "-A POSTROUTING -j BERTH-POST-berth0",
  ]);
});

test("without masquerading, containers keep their addresses; what loopback needs stays", () => {
  const lines = table(installText({ ...rules, masquerade: false }, [], ""), "nat").join("\n");
  assert.ok(!lines.includes("! -o berth0 -j MASQUERADE"));
  assert.ok(lines.includes("-s 127.0.0.0/8 -o berth0 -j MASQUERADE"));
});

test("a port on one address, and UDP", () => {
  assert.equal(
    portsText("berth0", [{ ...port, protocol: "udp", hostIp: "127.0.0.1" }]),
    "*nat\n:BERTH-berth0 - [0:0]\n" +
      "-A BERTH-berth0 -d 127.0.0.1/32 -p udp -m udp --dport 8080 -j DNAT --to-destination 172.17.0.2:80\nCOMMIT\n",
  );
});

test("installing again takes our jumps out first, and no others", () => {
  const saved = [
    "*nat",
    ":PREROUTING ACCEPT [0:0]",
    ":BERTH-berth0 - [0:0]",
    ":BERTH-berth01 - [0:0]",
    "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
    "-A PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j BERTH-berth0",
    "-A PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j BERTH-berth01",
    "COMMIT",
    "*filter",
    ":DOCKER-USER - [0:0]",
    "-A FORWARD -j BERTH-FWD-berth0",
    "-A BERTH-FWD-berth0 -j DOCKER-USER",
    "COMMIT",
  ].join("\n");
  const text = installText(rules, [], saved);
  assert.deepEqual(
    text.split("\n").filter((line) => line.startsWith("-D")),
    [
      "-D PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j BERTH-berth0",
      "-D FORWARD -j BERTH-FWD-berth0",
    ],
  );
  assert.ok(!text.includes(":DOCKER-USER"), "a chain that is named is emptied: the user's must not be");
  assert.ok(installText(rules, [], "").includes(":DOCKER-USER - [0:0]\n"), "it is made where it is missing");
});

test("removal names only what is there", () => {
  assert.equal(removalText("berth0", ""), "");
  const saved = "*raw\n:BERTH-GUARD-berth0 - [0:0]\n-A PREROUTING -i berth0 -j BERTH-GUARD-berth0\nCOMMIT\n";
  assert.equal(
    removalText("berth0", saved),
    "*raw\n-D PREROUTING -i berth0 -j BERTH-GUARD-berth0\n-F BERTH-GUARD-berth0\n-X BERTH-GUARD-berth0\nCOMMIT\n",
  );
});

test("icc=false: frames between containers are let through only for published ports", () => {
  const closed = installText({ ...rules, icc: false }, [], "");
  assert.ok(table(closed, "filter").includes("-A BERTH-FWD-berth0 -i berth0 -o berth0 -j DROP"));
  assert.ok(
    table(closed, "mangle").includes(
      "-A BERTH-GUARD-berth0 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
    ),
  );
});

test("chain names of the longest bridge name fit into iptables' 28 characters", () => {
  for (const name of Object.values(chainNames("fifteenletters0"))) assert.ok(name.length <= 28, name);
});

test("an internal network lets nothing pass its bridge, and translates nothing", () => {
  const text = installText({ ...rules, internal: true }, [port], "");
  assert.ok(!text.includes("*nat"));
  const mangle = table(text, "mangle");
  assert.deepEqual(mangle.slice(1, 3), [
    "-A BERTH-GUARD-berth0 ! -i berth0 -j DROP",
    "-A BERTH-GUARD-berth0 ! -o berth0 -j DROP",
  ]);
  assert.ok(mangle.includes("-I FORWARD -i berth0 ! -o berth0 -j BERTH-GUARD-berth0"));
});

test("IPv6 has its own loopback, and nothing for the one of IPv4", () => {
  const subnet = parseCidr("fd00::/64")?.prefix;
  assert.ok(subnet);
  const text = installText({ ...rules, subnet }, [], "");
  assert.ok(!text.includes("127."));
  assert.ok(text.includes("-d ::1/128 -j DROP"));
  assert.ok(text.includes("-s fd00::/64 ! -o berth0 -j MASQUERADE"));
});
