/** `berth version` */
import { type Command, messageOf } from "#cli/command.ts";
import { formatFlag } from "#cli/output/inspect.ts";
import { goJson } from "#cli/output/table.ts";
import { API_VERSION, BERTH_VERSION } from "#cli/version.ts";
import { template } from "#go-template/template.ts";

interface ServerVersion {
  Platform?: { Name: string };
  Components?: { Name: string; Version: string; Details?: Record<string, string> }[];
  Version: string;
  ApiVersion: string;
  MinAPIVersion: string;
  GitCommit: string;
  Os: string;
  Arch: string;
  [name: string]: unknown;
}

const command: Command = {
  usage: "[OPTIONS]",
  flags: [formatFlag],
  takes: [0, 0],
  async run(flags, context) {
    const arch = ({ x64: "amd64" } as Record<string, string>)[process.arch] ?? process.arch;
    const client = {
      Version: BERTH_VERSION,
      ApiVersion: API_VERSION,
      DefaultAPIVersion: API_VERSION,
      GitCommit: "",
      GoVersion: "",
      Os: process.platform,
      Arch: arch,
      BuildTime: "",
      Context: "default",
    };
    let server: ServerVersion | null = null;
    let problem: string | undefined;
    try {
      server = await (await context.client()).json<ServerVersion>("GET", "/version");
    } catch (error) {
      problem = messageOf(error);
    }
    const format = flags.string("format");
    if (format === "json") context.stdout.write(`${goJson({ Client: client, Server: server })}\n`);
    else if (format !== "") context.stdout.write(`${template(format)({ Client: client, Server: server })}\n`);
    else {
      const node = `Node version:      ${process.versions.node}`;
      context.stdout.write(
        `Client:\n Version:           ${client.Version}\n API version:       ${client.ApiVersion}\n ${node}\n` +
          ` OS/Arch:           ${client.Os}/${client.Arch}\n Context:           default\n`,
      );
      if (server !== null) context.stdout.write(describeServer(server));
    }
    if (problem !== undefined) context.stderr.write(`${problem}\n`);
    return problem === undefined ? 0 : 1;
  },
};
export default command;

function describeServer(server: ServerVersion): string {
  const lines = [`\nServer: ${server.Platform?.Name ?? ""}`.trimEnd()];
  for (const { Name, Version, Details = {} } of server.Components ?? []) {
    lines.push(` ${Name}:`, `  Version:          ${Version}`);
    const rows: [string, string | undefined][] = [
      [
        "API version:",
        Details.ApiVersion && `${Details.ApiVersion} (minimum version ${Details.MinAPIVersion})`,
      ],
      ["Git commit:", Details.GitCommit],
      ["Built:", Details.BuildTime],
      ["OS/Arch:", Details.Os && `${Details.Os}/${Details.Arch}`],
      ["Experimental:", Details.Experimental],
    ];
    for (const [label, value] of rows) if (value) lines.push(`  ${label.padEnd(17)} ${value}`);
  }
  return `${lines.join("\n")}\n`;
}
