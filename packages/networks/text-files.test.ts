import assert from "node:assert/strict";
import { test } from "node:test";
import { type HostsRequest, hostsFile, hostsFileOfHost } from "#networks/hosts-file.ts";
import { isStubResolver, type ResolverRequest, resolvConf } from "#networks/resolv-conf.ts";

const hosts: HostsRequest = {
  hostname: "web",
  domainname: "",
  addresses: ["172.17.0.2"],
  extraHosts: [],
  hostGateways: ["172.17.0.1", "fd00::1"],
};
const resolver: ResolverRequest = {
  hostFile: "nameserver 192.0.2.53\nsearch example.com\noptions ndots:2\n",
  dns: [],
  dnsSearch: [],
  dnsOptions: [],
  ownNamespace: true,
};

test("hosts: the standard names, extra ones, then the container's own", () => {
  const lines = hostsFile({
    ...hosts,
    domainname: "example.com",
    extraHosts: [
      "db:10.0.0.7",
      "v6:fd00::7",
      "w6:[fd00::8]",
      "host.docker.internal:host-gateway",
      "bad",
      "x=",
    ],
  }).split("\n");
  assert.equal(lines[0], "127.0.0.1\tlocalhost");
  assert.equal(lines[1], "::1\tlocalhost ip6-localhost ip6-loopback");
  assert.deepEqual(lines.slice(6), [
    "10.0.0.7\tdb",
    "fd00::7\tv6",
    "fd00::8\tw6",
    "172.17.0.1\thost.docker.internal",
    "fd00::1\thost.docker.internal",
    "172.17.0.2\tweb.example.com web",
    "",
  ]);
});

test("hosts: no own line without an address, no gateway entry without a gateway", () => {
  const text = hostsFile({ ...hosts, addresses: [], extraHosts: ["h:host-gateway"], hostGateways: [] });
  assert.ok(!text.includes("web"));
  assert.ok(text.endsWith("ff02::2\tip6-allrouters\n"));
});

test("hosts on the host's network are the host's, extended", () => {
  const text = hostsFileOfHost("127.0.0.1 localhost", { extraHosts: ["a:10.0.0.1"], hostGateways: [] });
  assert.equal(text, "127.0.0.1 localhost\n10.0.0.1\ta\n");
});

test("resolv.conf follows the host's, without what cannot be reached from inside", () => {
  assert.equal(resolvConf(resolver), "nameserver 192.0.2.53\nsearch example.com\noptions ndots:2\n");
  assert.equal(
    resolvConf({
      ...resolver,
      hostFile:
        "# stub\nnameserver 127.0.0.1\nnameserver ::1\nnameserver fd00::1\nnameserver 10.0.0.3 ; office\n",
    }),
    "nameserver 10.0.0.3\n",
  );
});

test("resolv.conf falls back to public servers when no server is left", () => {
  for (const hostFile of ["", "nameserver 127.0.0.53\n", "domain home.arpa\n"]) {
    assert.match(resolvConf({ ...resolver, hostFile }), /^nameserver 8.8.8.8\nnameserver 8.8.4.4\n/);
  }
});

test("each of the user's choices takes the place of the host's alone", () => {
  assert.equal(
    resolvConf({ ...resolver, dns: ["127.0.0.1"] }),
    "nameserver 127.0.0.1\nsearch example.com\noptions ndots:2\n",
  );
  assert.equal(
    resolvConf({ ...resolver, dnsSearch: ["."], dnsOptions: ["rotate"] }),
    "nameserver 192.0.2.53\noptions rotate\n",
  );
});

test("on the host's network the file is the host's, loopback servers and all", () => {
  const hostFile = "# kept\nnameserver 127.0.0.53\n";
  assert.equal(resolvConf({ ...resolver, hostFile, ownNamespace: false }), hostFile);
  assert.equal(
    resolvConf({ ...resolver, hostFile, ownNamespace: false, dnsOptions: ["rotate"] }),
    "nameserver 127.0.0.53\noptions rotate\n",
  );
});

test("the stub of systemd-resolved is known", () => {
  assert.ok(isStubResolver("nameserver 127.0.0.53\noptions edns0\n"));
  assert.ok(!isStubResolver("nameserver 127.0.0.53\nnameserver 10.0.0.1\n"));
});
