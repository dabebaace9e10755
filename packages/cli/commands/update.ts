/** `berth update`: other limits and another restart policy, for containers that run as well. */
import { type Command, forEach } from "#cli/command.ts";
import { type Flag, type FlagValues, parseInteger, parseUint16 } from "#cli/flags.ts";
import { restartPolicy } from "#cli/run/create-request.ts";
import { parseCpus, parseMemory, parseMemoryOrUnlimited } from "#cli/sizes.ts";

interface Setting {
  flag: Flag;
  /** The field of the API's update. */
  field: string;
}

const number = (name: string, field: string, help: string, short?: string): Setting => ({
  flag: { name, type: "int", parse: parseInteger, help, ...(short && { short }) },
  field,
});

const settings: readonly Setting[] = [
  {
    flag: { name: "blkio-weight", type: "uint16", parse: parseUint16, help: "Block I/O weight, 10 to 1000" },
    field: "BlkioWeight",
  },
  number("cpu-period", "CpuPeriod", "Period of the CPU quota, microseconds"),
  number("cpu-quota", "CpuQuota", "CPU time in a period, microseconds"),
  number("cpu-rt-period", "CpuRealtimePeriod", "Period of real-time processes, microseconds"),
  number("cpu-rt-runtime", "CpuRealtimeRuntime", "Time of real-time processes in a period, microseconds"),
  number("cpu-shares", "CpuShares", "Share of the CPU beside others", "c"),
  {
    flag: { name: "cpus", type: "decimal", parse: parseCpus, help: "Number of CPUs, fractions allowed" },
    field: "NanoCpus",
  },
  { flag: { name: "cpuset-cpus", type: "string", help: "CPUs to run on (0-3, 0,1)" }, field: "CpusetCpus" },
  {
    flag: { name: "cpuset-mems", type: "string", help: "Memory nodes to use (0-3, 0,1)" },
    field: "CpusetMems",
  },
  {
    flag: { name: "memory", short: "m", type: "bytes", parse: parseMemory, help: "Memory limit" },
    field: "Memory",
  },
  {
    flag: { name: "memory-reservation", type: "bytes", parse: parseMemory, help: "Soft memory limit" },
    field: "MemoryReservation",
  },
  {
    flag: {
      name: "memory-swap",
      type: "bytes",
      parse: parseMemoryOrUnlimited,
      help: "Limit of memory and swap together; -1 for no limit",
    },
    field: "MemorySwap",
  },
  number("pids-limit", "PidsLimit", "Number of processes; -1 for any"),
];

const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  flags: [
    ...settings.map(({ flag }) => flag),
    {
      name: "restart",
      type: "string",
      help: "When to start it again: no, on-failure[:times], always, unless-stopped",
    },
  ],
  takes: [1, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    const body = request(flags);
    const client = await context.client();
    const warnings: string[] = [];
    const code = await forEach(flags.positional, context, async (name) => {
      const path = `/containers/${encodeURIComponent(name)}/update`;
      const answer = await client.json<{ Warnings: string[] | null }>("POST", path, { body });
      warnings.push(...(answer.Warnings ?? []));
      return name;
    });
    for (const warning of warnings) context.stderr.write(`${warning}\n`);
    return code;
  },
};
export default command;

function request(flags: FlagValues): Record<string, unknown> {
  const given = settings.filter(({ flag }) => flags.has(flag.name));
  if (given.length === 0 && !flags.has("restart")) {
    throw new Error("you must provide one or more flags when using this command");
  }
  return {
    ...Object.fromEntries(given.map(({ flag, field }) => [field, flags.value(flag.name)])),
    ...(flags.has("restart") && { RestartPolicy: restartPolicy(flags.string("restart")) }),
  };
}
