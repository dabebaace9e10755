/**
 * Taking what a run needs: mounts, addresses, ports, the files over /etc; and putting it all into what the
 * compiler takes. What was taken is given back by releaseRun.
 */
import { mkdirSync } from "node:fs";
import type { Container } from "#engine/containers/container.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishNetworkEvents } from "#engine/events/container-events.ts";
import { containerSpec } from "#engine/launch/container-spec.ts";
import { containerUser } from "#engine/launch/container-user.ts";
import { refuseDeviceRequests } from "#engine/launch/device-requests.ts";
import { prepareEtcFiles } from "#engine/launch/etc-files.ts";
import { checkLogHost, logPlan, planLogs } from "#engine/launch/log-plan.ts";
import { sandboxRequest } from "#engine/launch/sandbox-request.ts";
import { joinedPid } from "#engine/launch/shared-namespaces.ts";
import { mountSources } from "#engine/mounts/mount-sources.ts";
import {
  linkEnvironment,
  linkedContainers,
  linkedPeers,
  linkHosts,
} from "#engine/networking/legacy-links.ts";
import type { Sandbox } from "#networks/network-types.ts";
import type { ContainerLaunch } from "#runtime/launch-types.ts";

/** `directory`: the run's exec directory, which exists. */
export async function prepareLaunch(
  context: EngineContext,
  container: Container,
  directory: string,
): Promise<ContainerLaunch> {
  const { record, times } = container;
  checkLogHost(record);
  refuseDeviceRequests(record.hostConfig);
  const logs = planLogs(record, context.config);
  if (logs !== undefined) mkdirSync(logs.log.directory, { recursive: true, mode: 0o700 });
  await context.held.hold(record.id, "root", record.id);
  const user = await containerUser(context.storage, record);
  times.mark("start", "user");
  const linked = linkedContainers(context, record);
  const request = sandboxRequest(context, record);
  request.extraHosts = [...request.extraHosts, ...linkHosts(linked)];
  const sandbox = await context.networks.allocate(request);
  if (linked.length > 0) await context.networks.permit(record.id, linkedPeers(context, record));
  rememberNetworks(record, sandbox);
  publishNetworkEvents(context, record.id, "connect");
  times.mark("start", "addresses, ports");
  const sources = await mountSources(context, record);
  const files = prepareEtcFiles(context, record, sandbox);
  times.mark("start", "mounts' sources, files over /etc");
  const { hostConfig, config } = record;
  const [rows, columns] = hostConfig.ConsoleSize ?? [0, 0];
  return {
    id: record.id,
    spec: containerSpec({
      record,
      user,
      sources,
      files,
      host: context.host,
      defaults: { ...context.config, seccompProfile: context.defaultSeccomp },
      idMap: context.idMap,
      linked: linkEnvironment(record.name, linked),
      joined: (other, kind) => joinedPid(context, record.hostConfig, other, kind),
    }),
    rootfs: await context.storage.rootfs(record.id),
    cgroups: context.cgroups,
    sandbox: sandbox.program,
    stdio: {
      terminal: config.Tty ?? false,
      openStdin: config.OpenStdin ?? false,
      stdinOnce: config.StdinOnce ?? false,
      expectedAttaches: container.pendingAttaches.size,
      ...(rows > 0 && columns > 0 ? { rows, columns } : {}),
    },
    log: logPlan(logs),
    execDirectory: directory,
    host: context.host,
    ...(hostConfig.Init ? { initPath: context.launcherPath } : {}),
  };
}

/** Whoever looks at a stopped container sees which networks it was on, not only what they are called. */
function rememberNetworks(record: ContainerRecord, sandbox: Sandbox): void {
  for (const [name, { NetworkID }] of Object.entries(sandbox.endpoints)) {
    const wishes = record.endpoints[name];
    if (wishes !== undefined) wishes.NetworkID = NetworkID;
  }
}
