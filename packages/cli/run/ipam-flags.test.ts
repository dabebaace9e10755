import assert from "node:assert/strict";
import { test } from "node:test";
import command from "#cli/commands/network-create.ts";
import { parseFlags } from "#cli/flags.ts";
import { ipamConfig } from "#cli/run/ipam-flags.ts";

const ipam = (line: string) => ipamConfig(parseFlags(command.flags, line.split(" "), { interspersed: true }));

test("each value belongs to the subnet it lies in", () => {
  const line =
    "--subnet 10.1.0.0/16 --subnet fd00:1::/64 --gateway fd00:1::9 --ip-range 10.1.8.0/24 --gateway 10.1.0.9 --aux-address a=10.1.0.1 --aux-address b=10.1.0.2 n";
  assert.deepEqual(ipam(line), [
    {
      Subnet: "10.1.0.0/16",
      IPRange: "10.1.8.0/24",
      Gateway: "10.1.0.9",
      AuxiliaryAddresses: { a: "10.1.0.1", b: "10.1.0.2" },
    },
    { Subnet: "fd00:1::/64", Gateway: "fd00:1::9" },
  ]);
  assert.deepEqual(ipam("n"), []);
});

test("what belongs to none, or twice", () => {
  const subnet = "--subnet 10.1.0.0/16";
  const cases: [string, string][] = [
    ["--gateway 10.1.0.1", "every ip-range or gateway must have a corresponding subnet"],
    [`${subnet} --subnet 10.1.2.0/24`, "multiple overlapping subnet configuration is not supported"],
    [`--subnet 10.1.2.0/24 ${subnet}`, "multiple overlapping subnet configuration is not supported"],
    [`${subnet} --gateway 10.2.0.1`, "no matching subnet for gateway 10.2.0.1"],
    [`${subnet} --gateway x`, "no matching subnet for gateway x"],
    [`${subnet} --ip-range 10.2.0.0/24`, "no matching subnet for range 10.2.0.0/24"],
    [`${subnet} --ip-range 10.0.0.0/8`, "no matching subnet for range 10.0.0.0/8"],
    [`${subnet} --ip-range x`, "invalid CIDR address: x"],
    [`${subnet} --aux-address a=10.2.0.1`, "no matching subnet for aux-address 10.2.0.1"],
    ["--subnet 10.1.0.0/99", "invalid CIDR address: 10.1.0.0/99"],
    ["--subnet 10.1.0.0", "invalid CIDR address: 10.1.0.0"],
  ];
  for (const [line, message] of cases) assert.throws(() => ipam(`${line} n`), { message });
  const two = `${subnet} --subnet 10.2.0.0/16`;
  assert.throws(() => ipam(`${two} --gateway 10.1.0.1 --gateway 10.1.0.2 n`), {
    message: "cannot configure multiple gateway (10.1.0.2, 10.1.0.1) for the same subnet (10.1.0.0/16)",
  });
  assert.throws(() => ipam(`${two} --ip-range 10.1.1.0/24 --ip-range 10.1.2.0/24 n`), /multiple ranges/);
});
