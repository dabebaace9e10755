import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { loadConfig } from "#config/load-config.ts";
import { createLogger } from "#config/logger.ts";
import { BerthError } from "#errors/errors.ts";

const absent = () => {
  throw Object.assign(new Error("ENOENT"), { code: "ENOENT" });
};
function load(argv: string[], file?: string) {
  const loaded = loadConfig(argv, file === undefined ? absent : () => file);
  assert.ok("config" in loaded);
  return loaded;
}

test("defaults are under Berth's own roots", () => {
  const { config, warnings } = load([]);
  assert.deepEqual(config.hosts, ["unix:///run/berth/berth.sock"]);
  assert.equal(config.dataRoot, "/var/lib/berth");
  assert.equal(config.defaultShmSize, 64 << 20);
  assert.deepEqual(warnings, []);
});

test("flags in all their forms", () => {
  const { config } = load([
    "-H",
    "tcp://127.0.0.1:1",
    "-Hfd://",
    "-D",
    "--iptables=false",
    "--mtu=1400",
    "--log-opt",
    "a=b=c",
  ]);
  assert.deepEqual(config.hosts, ["tcp://127.0.0.1:1", "fd://"]);
  assert.equal(config.debug, true);
  assert.equal(config.iptables, false);
  assert.equal(config.mtu, 1400);
  assert.deepEqual(config.logOpts, { a: "b=c" });
});

test("daemon.json, with dockerd's keys", () => {
  const { config } = load(
    [],
    JSON.stringify({
      hosts: ["unix:///x"],
      "insecure-registries": ["a:5000"],
      "default-address-pools": [{ base: "10.0.0.0/8", size: 24 }],
      "default-ulimits": { nofile: { Name: "nofile", Soft: 1, Hard: 2 } },
    }),
  );
  assert.deepEqual(config.hosts, ["unix:///x"]);
  assert.deepEqual(config.insecureRegistries, ["a:5000"]);
  assert.deepEqual(config.defaultAddressPools, [{ base: "10.0.0.0/8", size: 24 }]);
  assert.deepEqual(config.defaultUlimits, [{ Name: "nofile", Soft: 1, Hard: 2 }]);
});

const REFUSED: [string, string[], string | undefined, RegExp][] = [
  ["an unknown flag", ["--nonsense"], undefined, /unknown flag: --nonsense/],
  ["a flag without its value", ["--mtu"], undefined, /needs an argument/],
  ["a number that is none", ["--mtu=big"], undefined, /"big" is not a number/],
  ["an unknown key", [], '{"colour": 1}', /directives don't match any configuration option: colour/],
  ["a key of the wrong type", [], '{"mtu": "1400"}', /mtu must be a number/],
  ["JSON that is not JSON", [], "{mtu", /unable to configure the daemon with file \/etc\/berth\/daemon.json/],
  ["a list as the file", [], "[]", /not a JSON object/],
  [
    "the same in flag and file",
    ["--mtu=1"],
    '{"mtu": 2}',
    /both as a flag and in the configuration file: mtu/,
  ],
  ["a host gateway that is no address", ["--host-gateway-ip", "host"], undefined, /invalid address/],
  [
    "two host gateways of one family",
    [],
    '{"host-gateway-ips": ["10.0.0.1", "fd00::1", "10.0.0.2"]}',
    /only one IPv4 address is possible/,
  ],
  ["a host of no known kind", ["-H", "ftp://x"], undefined, /invalid host ftp:\/\/x/],
  ["a bip without prefix", ["--bip", "10.0.0.1"], undefined, /invalid CIDR address/],
  ["a bridge name too long", ["--bridge", "a-bridge-name-too-long"], undefined, /invalid bridge name/],
  ["an unknown storage driver", ["-s", "floppy"], undefined, /storage-driver: floppy/],
  ["a relative data root", ["--data-root", "x"], undefined, /absolute path/],
  [
    "a data root too long for the state database",
    ["--data-root", `/${"é".repeat(200)}`],
    undefined,
    /--data-root is too long \(401 bytes, 400 at most\)/,
  ],
  ["a file that was asked for and is not there", ["--config-file", "/no"], undefined, /with file \/no/],
];
for (const [what, argv, file, message] of REFUSED) {
  test(`${what} is refused`, () => {
    assert.throws(() => load(argv, file), message);
  });
}

test("what has no effect yet says so", () => {
  assert.deepEqual(load(["--raw-logs"]).warnings, ["raw-logs has no effect yet"]);
});

test("no command line makes the parser fail in any other way", () => {
  const argument = fc.oneof(
    fc.string(),
    fc.constantFrom("--host", "-H", "--mtu=", "--bip", "-", "--", "--=", "-D=x"),
  );
  fc.assert(
    fc.property(fc.array(argument), fc.string(), (argv, file) => {
      try {
        loadConfig(argv, () => file);
      } catch (error) {
        assert.ok(error instanceof BerthError, String(error));
      }
    }),
  );
});

test("the log is logfmt or JSON, by level, without secrets", () => {
  const lines: string[] = [];
  const text = createLogger({ level: "info", format: "text", write: (line) => lines.push(line) });
  text.debug("unseen");
  text.info("two words", { port: 80, password: "x", error: { a: 1 } });
  assert.equal(lines.length, 1);
  assert.match(
    lines[0] ?? "",
    /^time=\S+ level=info msg="two words" port=80 password="\(redacted\)" error="{\\"a\\":1}"\n$/,
  );
  const json = createLogger({ level: "error", format: "json", write: (line) => lines.push(line) });
  json.error("bad", { code: 1 });
  assert.deepEqual(Object.keys(JSON.parse(lines[1] ?? "")), ["time", "level", "msg", "code"]);
});

test("TCP without TLS for others has to be said in so many words", () => {
  assert.equal(load([]).config.insecureTcp, false);
  assert.equal(load(["--tls=false"]).config.insecureTcp, true);
  assert.equal(load([], '{"tls": false}').config.insecureTcp, true);
  assert.equal(load(["--tls=false", "--tlsverify"]).config.insecureTcp, false);
});
