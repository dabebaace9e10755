/** `berth port`: where published ports are on the host. */
import type { ContainerInspect } from "#api-types/container.ts";
import type { PortBinding } from "#api-types/network.ts";
import type { Command } from "#cli/command.ts";

const command: Command = {
  usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
  flags: [],
  takes: [1, 2],
  async run(flags, context) {
    const [name = "", wanted] = flags.positional;
    const client = await context.client();
    const path = `/containers/${encodeURIComponent(name)}/json`;
    const { Ports } = (await client.json<ContainerInspect>("GET", path)).NetworkSettings;
    const show = ({ HostIp, HostPort }: PortBinding) =>
      HostIp.includes(":") ? `[${HostIp}]:${HostPort}` : `${HostIp}:${HostPort}`;
    if (wanted !== undefined) {
      const bindings = Ports[wanted.includes("/") ? wanted : `${wanted}/tcp`];
      if (!bindings) throw new Error(`no public port '${wanted}' published for ${name}`);
      context.stdout.write(bindings.map((binding) => `${show(binding)}\n`).join(""));
      return 0;
    }
    const lines = Object.entries(Ports ?? {}).flatMap(([port, bindings]) =>
      (bindings ?? []).map((binding) => `${port} -> ${show(binding)}\n`),
    );
    context.stdout.write(lines.sort().join(""));
    return 0;
  },
};
export default command;
