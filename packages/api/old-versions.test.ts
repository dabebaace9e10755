/** What clients of older versions ask and are shown: each version up to the one in which something came or went. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ContainerCreateRequest } from "#api-types/container.ts";
import { isBerthError } from "#errors/errors.ts";
import { applyOldDefaults } from "./old-requests.ts";
import { infoAnswer } from "./system-answers.ts";
import { Served } from "./testing/served.ts";
import { negotiate } from "./versions.ts";

const newest = {
  SecurityOptions: ["name=seccomp,profile=builtin", "name=cgroupns"],
  Runtimes: { berth: { path: "berth-oci", status: { features: "{}" } } },
  RuncCommit: { ID: "1" },
  InitCommit: { ID: "2" },
  ContainerdCommit: { ID: "N/A" },
  RegistryConfig: { Mirrors: null },
  FirewallBackend: { Driver: "iptables" },
  CDISpecDirs: [],
};

describe("info", () => {
  it("is as it is in the newest version", () => {
    assert.deepEqual(infoAnswer(newest, negotiate("1.51")), newest);
    assert.deepEqual(infoAnswer(newest, negotiate("1.50")), newest);
  });

  it("has what has gone since, and not what has come", () => {
    const at = (version: string) => infoAnswer(newest, negotiate(version));
    assert.equal(at("1.49").BridgeNfIptables, false);
    assert.deepEqual(at("1.49").FirewallBackend, { Driver: "iptables" });
    assert.deepEqual(at("1.49").RuncCommit, { ID: "1" });

    assert.equal("FirewallBackend" in at("1.48"), false);
    assert.deepEqual(at("1.47").RuncCommit, { ID: "1", Expected: "1" });
    assert.deepEqual(at("1.47").RegistryConfig, {
      AllowNondistributableArtifactsCIDRs: null,
      AllowNondistributableArtifactsHostnames: null,
      Mirrors: null,
    });
    assert.deepEqual(at("1.44").CDISpecDirs, []);
    assert.deepEqual(at("1.44").Runtimes, newest.Runtimes);

    assert.equal("CDISpecDirs" in at("1.43"), false);
    assert.deepEqual(at("1.40").Runtimes, { berth: { path: "berth-oci" } });
    assert.deepEqual(at("1.40").SecurityOptions, newest.SecurityOptions);

    assert.deepEqual(at("1.24").SecurityOptions, ["seccomp", "cgroupns"]);
    assert.equal(at("1.24").ExecutionDriver, "<not supported>");
  });
});

describe("a request to create", () => {
  const everything = (): ContainerCreateRequest => ({
    Image: "a",
    Healthcheck: { StartInterval: 1 },
    HostConfig: {
      Annotations: { a: "b" },
      AutoRemove: true,
      ConsoleSize: [1, 2],
      KernelMemoryTCP: 5,
      Mounts: [
        {
          Type: "bind",
          Target: "/a",
          BindOptions: { CreateMountpoint: true, NonRecursive: true },
          VolumeOptions: {},
        },
        { Type: "tmpfs", Target: "/b", TmpfsOptions: { Options: [["exec"]] } },
      ],
    },
    NetworkingConfig: { EndpointsConfig: { n: { MacAddress: "02:00:00:00:00:01", GwPriority: 1 } } },
  });
  const meant = (version: string) => {
    const request = everything();
    applyOldDefaults(request, negotiate(version));
    return request;
  };

  it("means what it says since 1.48", () => {
    for (const version of ["1.51", "1.48"]) assert.deepEqual(meant(version), everything());
  });

  it("loses what its version doesn't know", () => {
    const endpoint = (version: string) => meant(version).NetworkingConfig?.EndpointsConfig?.n;
    assert.deepEqual(endpoint("1.47"), { MacAddress: "02:00:00:00:00:01" });
    assert.deepEqual(endpoint("1.43"), {});
    assert.deepEqual(meant("1.45").HostConfig?.Mounts?.[1]?.TmpfsOptions, {});
    assert.deepEqual(meant("1.43").Healthcheck, {});
    assert.equal(meant("1.42").HostConfig?.Annotations, undefined);
    assert.deepEqual(meant("1.42").HostConfig?.ConsoleSize, [1, 2]);
    assert.deepEqual(meant("1.41").HostConfig, {
      AutoRemove: true,
      KernelMemoryTCP: 5,
      Mounts: [
        { Type: "bind", Target: "/a", BindOptions: { NonRecursive: true } },
        { Type: "tmpfs", Target: "/b", TmpfsOptions: {} },
      ],
    });
    assert.deepEqual(meant("1.24").HostConfig, {
      AutoRemove: false,
      CgroupnsMode: "host",
      IpcMode: "shareable",
      Mounts: [
        { Type: "bind", Target: "/a", BindOptions: {} },
        { Type: "tmpfs", Target: "/b", TmpfsOptions: {} },
      ],
    });
  });

  it("is refused where it could not be meant and must not be lost", () => {
    const refused = (version: string, mount: object) => {
      const request = { Image: "a", HostConfig: { Mounts: [mount] } } as ContainerCreateRequest;
      try {
        applyOldDefaults(request, negotiate(version));
        return undefined;
      } catch (error) {
        return isBerthError(error, "invalid") ? error.message : error;
      }
    };
    const forced = { Type: "bind", Target: "/a", BindOptions: { ReadOnlyForceRecursive: true } };
    assert.equal(refused("1.43", forced), "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer");
    assert.equal(refused("1.44", forced), undefined);
    const part = { Type: "volume", Target: "/a", VolumeOptions: { Subpath: "b" } };
    assert.equal(refused("1.44", part), "VolumeOptions.Subpath needs API v1.45 or newer");
    assert.equal(refused("1.45", part), undefined);
    const image = { Type: "image", Target: "/a", Source: "b" };
    assert.equal(refused("1.47", image), 'Mount type "Image" needs API v1.48 or newer');
    assert.equal(refused("1.48", image), undefined);
  });
});

describe("swarm's things in other groups", () => {
  it("are refused as by a daemon outside a swarm", async () => {
    await using served = await Served.start();
    const body = { Name: "a", ClusterVolumeSpec: { Group: "g" } };
    const made = await served.ask("POST", "/volumes/create", { body });
    assert.equal(made.status, 503);
    assert.match(made.json.message, /^This node is not a swarm manager\./);
    assert.equal((await served.ask("POST", "/v1.41/volumes/create", { body })).status, 201);
    const updated = await served.ask("PUT", "/volumes/a?version=1", { body: {} });
    assert.equal(updated.status, 503);
    assert.match(updated.json.message, /cluster volumes, but swarm is unavailable$/);
  });
});
