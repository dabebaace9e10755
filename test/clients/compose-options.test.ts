/** What a compose file can say of a service, seen from inside its container: `docker compose`, unmodified, on Berth. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { ComposeProject } from "./compose-project.ts";
import { dockerCliMissing } from "./docker-cli.ts";

const IMAGE = "berth/busybox:latest";

const file = (name: string, prefix: string) => `
name: ${name}
x-common: &common
  image: ${IMAGE}
  command: [sleep, "1000"]
  stop_grace_period: 0s
services:
  full:
    <<: *common
    container_name: ${name}-the-one
    hostname: named
    domainname: example.test
    user: "1000:1001"
    group_add: ["1002"]
    working_dir: /work
    environment: {A: "1", B: two}
    env_file: [more.env]
    cap_add: [NET_ADMIN]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    read_only: true
    tmpfs: ["/scratch:size=1m,mode=1777"]
    shm_size: 8m
    sysctls: {net.ipv4.ip_unprivileged_port_start: 80}
    ulimits: {nofile: {soft: 100, hard: 200}, nproc: 50}
    devices: ["/dev/null:/dev/nothing"]
    extra_hosts: ["elsewhere=10.9.8.7", "outside:host-gateway"]
    dns: [10.9.9.9]
    dns_search: [example.test]
    mac_address: 02:42:0a:d6:6a:64
    init: true
    pids_limit: 60
    oom_score_adj: 100
    mem_limit: 64m
    memswap_limit: 64m
    cpus: 0.5
    cpuset: "0"
    restart: on-failure:3
    stop_signal: SIGTERM
    ipc: shareable
    labels: {kind: full}
    annotations: {note: here}
    logging: {driver: json-file, options: {max-size: 1m}}
    healthcheck: {test: ["CMD", "true"], interval: 500ms, start_period: 1s, start_interval: 100ms}
    secrets: [token]
    configs:
      - {source: settings, target: /etc/settings.conf}
    volumes:
      - {type: volume, source: data, target: /data, volume: {nocopy: true}}
      - {type: bind, source: ./more.env, target: /bound, read_only: true}
      - {type: tmpfs, target: /memory, tmpfs: {size: 1048576}}
      - /anonymous
    networks:
      fixed:
        ipv4_address: ${prefix}100
        ipv6_address: fd00:106::100
        aliases: [alias]
        priority: 10
      inner:
  shares:
    <<: *common
    network_mode: service:full
    pid: service:full
    ipc: service:full
    volumes_from: [full]
  linked:
    <<: *common
    links: ["full:short"]
    networks: [fixed]
    # Compose copies these two into the container, which Docker refuses where the root is read-only.
    secrets: [{source: other, target: /run/elsewhere}]
    configs: [{source: inline, target: /etc/inline.conf}]
  inside:
    <<: *common
    networks: [inner]
  alone:
    <<: *common
    network_mode: none
  done:
    image: ${IMAGE}
    command: ["true"]
  last:
    <<: *common
    depends_on: {done: {condition: service_completed_successfully}, full: {condition: service_healthy, restart: true}}
    deploy: {replicas: 2}
    volumes: ["outer:/outer"]
    networks: [outer]
secrets:
  token: {file: ./token}
  other: {environment: OTHER_SECRET}
configs:
  settings: {file: ./more.env}
  inline: {content: "inline = true\\n"}
volumes:
  data: {driver_opts: {type: tmpfs, device: tmpfs, o: "size=1m"}}
  outer: {external: true, name: outer-volume}
networks:
  fixed:
    enable_ipv6: true
    ipam:
      config: [{subnet: ${prefix}0/24, gateway: ${prefix}1}, {subnet: "fd00:106::/64"}]
    labels: {kind: net}
    driver_opts: {com.docker.network.bridge.name: bcmp${process.pid % 100_000}}
  inner: {internal: true}
  outer: {external: true, name: outer-net}
`;

describe("docker compose's options", { skip: dockerCliMissing() }, () => {
  let daemon: TestDaemon;
  let project: ComposeProject;
  before(async () => {
    daemon = await TestDaemon.start({ subnet: 96 });
    daemon.loadBusybox();
    project = new ComposeProject(daemon, "full");
    project.write("more.env", "FROM_FILE=yes\n");
    project.write("token", "secret\n");
    project.write(".env", "OTHER_SECRET=from the environment\n");
    project.write("compose.yaml", file(project.name, project.prefix));
  });
  after(async () => {
    await project.run("down", "-v", "-t", "0");
    await daemon.stop();
  });

  test("what is external has to be there", async () => {
    const refused = await project.run("up", "-d");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /network outer-net not found/);
    assert.equal(daemon.docker("network", "create", "outer-net").code, 0);
    assert.equal(daemon.docker("volume", "create", "outer-volume").code, 0);
    await project.ok("up", "-d");
    assert.equal((await project.ps()).length, 7);
  });

  test("user, groups, directory, names, environment", async () => {
    assert.equal(await project.shell("full", "id -u; id -g; id -G; pwd"), "1000\n1001\n1001 1002\n/work");
    assert.equal(await project.shell("full", "hostname; hostname -f"), "named\nnamed.example.test");
    assert.equal(await project.shell("full", "echo $A $B $FROM_FILE"), "1 two yes");
    assert.match(await project.shell("full", "cat /etc/hosts"), /^10\.9\.8\.7\s+elsewhere$/m);
    assert.ok((await project.shell("full", "cat /etc/hosts")).includes(`\n${daemon.gateway}\toutside`));
    assert.match(await project.shell("full", "cat /etc/resolv.conf"), /^search example\.test$/m);
    assert.deepEqual(project.inspectByName(`${project.name}-the-one`).HostConfig.Dns, ["10.9.9.9"]);
  });

  test("isolation: capabilities, read-only root, devices, sysctls, limits", async () => {
    const status = await project.shell("full", "cat /proc/self/status");
    assert.match(status, /^CapBnd:\s+0000000000001000$/m);
    assert.match(status, /^NoNewPrivs:\s+1$/m);
    assert.match(await project.shell("full", "touch /x 2>&1 || true"), /Read-only file system/);
    assert.equal(await project.shell("full", "touch /scratch/x && stat -c %a /scratch"), "1777");
    assert.match(await project.shell("full", "ls -l /dev/nothing"), /^c.*1, +3/);
    assert.equal(await project.shell("full", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"), "80");
    assert.equal(await project.shell("full", "ulimit -n; ulimit -Hn"), "100\n200");
    assert.match(await project.shell("full", "cat /proc/1/cmdline"), /init/);
    assert.equal(await project.shell("full", "cat /proc/1/oom_score_adj"), "100");
    const { HostConfig } = project.inspectByName(`${project.name}-the-one`);
    assert.deepEqual(
      [
        HostConfig.Memory,
        HostConfig.MemorySwap,
        HostConfig.NanoCpus,
        HostConfig.CpusetCpus,
        HostConfig.PidsLimit,
      ],
      [64 << 20, 64 << 20, 500_000_000, "0", 60],
    );
    assert.deepEqual(HostConfig.RestartPolicy, { Name: "on-failure", MaximumRetryCount: 3 });
    assert.deepEqual(HostConfig.LogConfig, { Type: "json-file", Config: { "max-size": "1m" } });
    assert.deepEqual(HostConfig.Annotations, { note: "here" });
    assert.equal(HostConfig.ShmSize, 8 << 20);
  });

  test("secrets and configs, from files, the environment and the compose file", async () => {
    assert.equal(await project.shell("full", "cat /run/secrets/token"), "secret");
    assert.equal(await project.shell("linked", "cat /run/elsewhere"), "from the environment");
    assert.equal(await project.shell("full", "cat /etc/settings.conf"), "FROM_FILE=yes");
    assert.equal(await project.shell("linked", "cat /etc/inline.conf"), "inline = true");
  });

  test("volumes of every kind", async () => {
    const mounts = await project.shell("full", "cat /proc/mounts");
    assert.match(mounts, /^tmpfs \/data tmpfs rw.*size=1024k/m);
    assert.match(mounts, /^tmpfs \/memory tmpfs rw.*size=1024k/m);
    assert.match(mounts, /^\S+ \/bound \S+ ro/m);
    assert.match(mounts, /^\S+ \/anonymous \S+ rw/m);
    assert.match(await project.shell("shares", "cat /proc/mounts"), /^\S+ \/anonymous \S+ rw/m);
    const [volume] = project
      .inspect("shares")
      .Mounts.filter(({ Destination }: { Destination: string }) => Destination === "/anonymous");
    const { Mounts } = project.inspectByName(`${project.name}-the-one`);
    assert.ok(Mounts.some(({ Name }: { Name: string }) => Name === volume.Name));
    assert.equal(
      daemon.docker("volume", "ls", "-q", "-f", `name=${project.name}_data`).stdout.trim(),
      `${project.name}_data`,
    );
  });

  test("networks: fixed addresses, IPv6, aliases, links, an internal one, none", async () => {
    const { Networks } = project.inspectByName(`${project.name}-the-one`).NetworkSettings;
    const address = `${project.prefix}100`;
    const fixed = Networks[`${project.name}_fixed`];
    assert.equal(fixed.IPAddress, address);
    assert.equal(fixed.GlobalIPv6Address, "fd00:106::100");
    assert.match(await project.shell("full", "ip addr"), new RegExp(`${address}/24[^]*fd00:106::100/64`));
    for (const name of ["full", "alias", "short", `${project.name}-the-one`]) {
      assert.ok((await project.shell("linked", `ping -4 -c 1 -w 5 ${name}`)).includes(address), name);
    }
    assert.match(await project.shell("inside", "ping -c 1 -w 5 full"), /1 packets received/);
    assert.equal(await project.shell("inside", "ip route | grep -c default || true"), "0");
    assert.equal(await project.shell("alone", "ls /sys/class/net"), "lo");
    assert.equal(
      daemon.docker("network", "inspect", "-f", "{{.Internal}}", `${project.name}_inner`).stdout,
      "true\n",
    );
  });

  test("namespaces shared with another service", async () => {
    assert.equal(await project.shell("shares", `ip addr | grep -c ${project.prefix}100/`), "1");
    assert.match(await project.shell("shares", "ps"), /init/);
    const link = (service: string) =>
      project.shell(service, "cd /proc/self/ns; readlink net; readlink pid; readlink ipc");
    assert.equal(await link("shares"), await link("full"));
  });

  test("dependencies: what has ended well, what is healthy; replicas", async () => {
    const [ended] = await project.ps("-a", "done");
    assert.deepEqual([ended?.State, ended?.ExitCode], ["exited", 0]);
    assert.equal((await project.ps("last")).length, 2);
    await project.shell("last", "echo kept >/outer/file");
  });

  test("what is made without being started", async () => {
    await project.ok("rm", "-s", "-f", "alone");
    await project.ok("create", "alone");
    assert.equal((await project.ps("-a", "alone"))[0]?.State, "created");
    await project.ok("start", "alone");
    assert.equal((await project.ps("alone"))[0]?.State, "running");
  });

  test("run with options of its own", async () => {
    const flags = [
      "--rm",
      "-T",
      "-e",
      "A=own",
      "-v",
      "outer-volume:/more",
      "--name",
      `${project.name}-own`,
      "-u",
      "0",
    ];
    const ran = await project.ok(
      "run",
      ...flags,
      "--entrypoint",
      "sh",
      "last",
      "-c",
      "echo $A; cat /more/file; id -u",
    );
    assert.equal(ran, "own\nkept\n0\n");
    const id = (await project.ok("run", "-d", "-P", "linked")).trim();
    assert.equal(project.inspectByName(id).Config.Labels["com.docker.compose.oneoff"], "True");
    daemon.docker("rm", "-f", id);
  });

  test("attach, stats, config's hash, version", async () => {
    assert.match(await project.ok("stats", "--no-stream"), new RegExp(`${project.name}-the-one`));
    assert.match(await project.ok("config", "--hash", "full"), /^full [0-9a-f]{64}$/m);
    assert.match(await project.ok("version", "--short"), /^2\./);
  });

  test("a service whose dependency never gets healthy is not started", async () => {
    const sick = `${project.name}-sick`;
    project.write(
      "sick.yaml",
      `
name: ${sick}
services:
  ill:
    image: ${IMAGE}
    command: [sleep, "1000"]
    healthcheck: {test: ["CMD", "false"], interval: 100ms, retries: 2}
    stop_grace_period: 0s
  waits:
    image: ${IMAGE}
    depends_on: {ill: {condition: service_healthy}}
`,
    );
    const ran = await project.run("-f", "sick.yaml", "up", "-d");
    assert.equal(ran.code, 1);
    assert.match(ran.stderr, /dependency failed to start: container \S+-ill-1 is unhealthy/);
    assert.equal(project.inspectByName(`${sick}-waits-1`).State.Status, "created");
    await project.ok("-f", "sick.yaml", "down", "-v");
  });

  test("down leaves what is external", async () => {
    await project.ok("down", "-v", "-t", "0", "--remove-orphans");
    assert.deepEqual(daemon.docker("ps", "-aq").stdout, "");
    assert.equal(daemon.docker("volume", "ls", "-q").stdout, "outer-volume\n");
    const networks = daemon.docker("network", "ls", "--format", "{{.Name}}").stdout;
    assert.deepEqual(networks.trim().split("\n").sort(), ["bridge", "host", "none", "outer-net"]);
  });
});
