/** `berth stats` and `berth update` say what docker's do for the same answers of the engine. */
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Answers, dockerCliMissing, RecordingEngine } from "#test/clients/docker-cli.ts";

const id = (digit: string) => digit.repeat(64);
const cpu = (used: number, system: number) => ({
  cpu_usage: { total_usage: used, usage_in_kernelmode: 0, usage_in_usermode: 0 },
  system_cpu_usage: system,
  online_cpus: 4,
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
});
const message = (name: string, digit: string) => ({
  read: "2026-01-02T03:04:06Z",
  preread: "2026-01-02T03:04:05Z",
  pids_stats: { current: 7 },
  blkio_stats: {
    io_service_bytes_recursive: [
      { major: 8, minor: 0, op: "Read", value: 123_456_789 },
      { major: 8, minor: 0, op: "Write", value: 4096 },
      { major: 8, minor: 16, op: "read", value: 1 },
      { major: 8, minor: 0, op: "Sync", value: 5 },
    ],
  },
  num_procs: 0,
  storage_stats: {},
  cpu_stats: cpu(2_500_000_000, 44_000_000_000),
  precpu_stats: cpu(2_000_000_000, 40_000_000_000),
  memory_stats: {
    usage: 57_123_456,
    limit: 104_857_600,
    stats: { total_inactive_file: 1_000_000, inactive_file: 5 },
  },
  networks: {
    eth0: { rx_bytes: 1_234_567, tx_bytes: 999, rx_packets: 1, tx_packets: 1 },
    eth1: { rx_bytes: 1, tx_bytes: 1, rx_packets: 1, tx_packets: 1 },
  },
  name: `/${name}`,
  id: id(digit),
});
const v2 = {
  ...message("second", "b"),
  memory_stats: { usage: 2048, limit: 8_123_456_789, stats: { inactive_file: 1024 } },
  networks: undefined,
  blkio_stats: { io_service_bytes_recursive: null },
};
const stopped = {
  ...message("third", "c"),
  pids_stats: {},
  cpu_stats: { ...cpu(0, 0), online_cpus: undefined, system_cpu_usage: undefined },
  precpu_stats: cpu(0, 0),
  memory_stats: {},
  networks: undefined,
  blkio_stats: { io_service_bytes_recursive: null },
};
const answers: Answers = {
  "/containers/first/stats": message("first", "a"),
  "/containers/second/stats": v2,
  "/containers/third/stats": stopped,
};

const lines = [
  "stats --no-stream first",
  "stats --no-stream --no-trunc first",
  "stats --no-stream first second third",
  "stats --no-stream nosuch",
  "stats --no-stream first --format {{.Container}} {{.ID}} {{.Name}} {{.CPUPerc}} {{.MemUsage}}",
  "stats --no-stream second --format {{.MemPerc}} {{.NetIO}} {{.BlockIO}} {{.PIDs}}",
  "stats --no-stream first --format table {{.Name}}\\t{{.PIDs}}",
  "stats --no-stream first --format json",
  "container stats --no-stream third",
  "update",
  "update x",
  "update --cpus 0.5 x",
  "update --cpus x y",
  "update --restart on-failure:x y",
  "update --restart :3 y",
  "update --pids-limit -1 x y",
];

describe("stats and update", { skip: dockerCliMissing() }, () => {
  const engine = new RecordingEngine(answers);
  const main = join(import.meta.dirname, "../../apps/berth/main.ts");
  const options = { cwd: tmpdir(), env: { TZ: "UTC" } };
  before(async () => await engine.listen());
  after(async () => await engine[Symbol.asyncDispose]());

  for (const line of lines)
    it(line, async () => {
      const [start = "", format] = line.split(" --format ");
      const argv = [...start.split(" "), ...(format === undefined ? [] : ["--format", format])];
      const docker = await engine.docker(argv, options);
      const berth = await engine.run(process.execPath, [main, ...argv], options);
      assert.equal(berth.stdout, docker.stdout);
      assert.equal(berth.stderr, docker.stderr.replaceAll("docker", "berth"));
      assert.equal(berth.code, docker.code);
    });
});
