/** `berth info` */
import type { Command } from "#cli/command.ts";
import { formatFlag } from "#cli/output/inspect.ts";
import { goJson } from "#cli/output/table.ts";
import { BERTH_VERSION } from "#cli/version.ts";
import { template } from "#go-template/template.ts";

type Info = Record<string, unknown>;

/** Fields of GET /info in the order and with the labels of docker's own. */
const lines: readonly [label: string, field: string][] = [
  ["Containers", "Containers"],
  [" Running", "ContainersRunning"],
  [" Paused", "ContainersPaused"],
  [" Stopped", "ContainersStopped"],
  ["Images", "Images"],
  ["Server Version", "ServerVersion"],
  ["Storage Driver", "Driver"],
  ["Logging Driver", "LoggingDriver"],
  ["Cgroup Driver", "CgroupDriver"],
  ["Cgroup Version", "CgroupVersion"],
  ["Default Runtime", "DefaultRuntime"],
  ["Kernel Version", "KernelVersion"],
  ["Operating System", "OperatingSystem"],
  ["OSType", "OSType"],
  ["Architecture", "Architecture"],
  ["CPUs", "NCPU"],
  ["Total Memory", "MemTotal"],
  ["Name", "Name"],
  ["ID", "ID"],
  ["Docker Root Dir", "DockerRootDir"],
  ["Debug Mode", "Debug"],
  ["Experimental", "ExperimentalBuild"],
  ["Live Restore Enabled", "LiveRestoreEnabled"],
];

const command: Command = {
  usage: "[OPTIONS]",
  flags: [formatFlag],
  takes: [0, 0],
  async run(flags, context) {
    const info = await (await context.client()).json<Info>("GET", "/info");
    const format = flags.string("format");
    if (format === "json") context.stdout.write(`${goJson(info)}\n`);
    else if (format !== "") context.stdout.write(`${template(format)(info)}\n`);
    else context.stdout.write(`Client:\n Version:    ${BERTH_VERSION}\n\nServer:\n${describe(info)}`);
    return 0;
  },
};
export default command;

function describe(info: Info): string {
  const text = lines.map(([label, field]) => {
    const value = field === "MemTotal" ? binarySize(Number(info[field])) : info[field];
    return value === undefined || value === ""
      ? ""
      : ` ${label}: ${value}\n${field === "Driver" ? driver(info) : ""}`;
  });
  const warnings = (info.Warnings as string[] | null) ?? [];
  return text.join("") + warnings.map((warning) => `${warning}\n`).join("");
}

function driver(info: Info): string {
  const status = (info.DriverStatus as [string, string][] | null) ?? [];
  return status.map(([name, value]) => `  ${name}: ${value}\n`).join("");
}

/** "3.842GiB" */
function binarySize(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  return `${Number((bytes / 1024 ** unit).toPrecision(4))}${units[unit]}`;
}
