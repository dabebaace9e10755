/** What the compiler needs for an exec, from the exec's request and its container's own configuration. */

import type { EngineContext } from "#engine/engine-context.ts";
import type { Exec } from "#engine/exec/exec.ts";
import { environment, kernelLimits } from "#engine/launch/container-spec.ts";
import { containerUser } from "#engine/launch/container-user.ts";
import { seccompFor } from "#engine/launch/seccomp-choice.ts";
import { parseSecurityOptions } from "#engine/launch/security-options.ts";
import { mappingsOf } from "#engine/launch/user-namespace.ts";
import { BerthError } from "#errors/errors.ts";
import { isProcessAlive } from "#kernel/process-status.ts";
import { resolveCapabilities } from "#runtime/capabilities.ts";
import { containerCgroupPath } from "#runtime/cgroups/container-cgroup.ts";
import type { ExecLaunch } from "#runtime/launch-types.ts";
import type { Spec } from "#runtime/spec-types.ts";

export async function prepareExec(
  context: EngineContext,
  exec: Exec,
  directory: string,
  expectedAttaches: number,
  consoleSize: [number, number] | undefined,
): Promise<ExecLaunch> {
  const { request, container } = exec;
  const { record } = container;
  const { config, hostConfig } = record;
  // The program cannot compare: a pid that was given to somebody else meanwhile has to be noticed here.
  if (!isProcessAlive(record.state.Pid, record.startTicks)) {
    throw new BerthError("conflict", `container ${record.id} is not running`, {
      operation: "exec",
      object: record.name,
    });
  }
  const user = await containerUser(context.storage, record, request.User || undefined);
  const privileged = request.Privileged ?? hostConfig.Privileged ?? false;
  const capabilities = resolveCapabilities({
    add: hostConfig.CapAdd ?? [],
    drop: hostConfig.CapDrop ?? [],
    privileged: privileged || (hostConfig.Privileged ?? false),
  });
  const inForce = user.uid === 0 ? capabilities : [];
  const [rows, columns] = consoleSize ?? request.ConsoleSize ?? [0, 0];
  return {
    id: exec.id,
    containerId: record.id,
    pid: record.state.Pid,
    spec: containerSpecOf(context, container.lastLaunch?.spec, record.id, capabilities, exec),
    process: {
      terminal: request.Tty ?? false,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: request.Cmd ?? [],
      env: environment(
        [...(config.Env ?? []), ...(request.Env ?? [])],
        request.Tty ?? false,
        config.Hostname ?? "",
        user,
      ),
      cwd: request.WorkingDir || config.WorkingDir || "/",
      capabilities: { bounding: capabilities, effective: inForce, permitted: inForce },
      noNewPrivileges:
        parseSecurityOptions(hostConfig.SecurityOpt ?? []).noNewPrivileges || context.config.noNewPrivileges,
      ...kernelLimits(hostConfig, context.config.defaultUlimits),
    },
    privileged,
    cgroups: context.cgroups,
    stdio: {
      terminal: request.Tty ?? false,
      openStdin: request.AttachStdin ?? false,
      stdinOnce: true,
      expectedAttaches,
      ...(rows > 0 && columns > 0 ? { rows, columns } : {}),
    },
    execDirectory: directory,
    host: context.host,
  };
}

/**
 * The container's own configuration; after a daemon's restart it is not at hand, and what an exec needs of it is made
 * anew: the cgroup's path, the user namespace and the seccomp profile.
 */
function containerSpecOf(
  context: EngineContext,
  spec: Spec | undefined,
  id: string,
  capabilities: string[],
  exec: Exec,
): Spec {
  const { hostConfig } = exec.container.record;
  const mappings = mappingsOf(context.idMap, hostConfig);
  const base: Spec = spec ?? {
    ociVersion: "1.2.0",
    linux: {
      cgroupsPath: `/${containerCgroupPath(id, hostConfig.CgroupParent)}`,
      ...(mappings && { namespaces: [{ type: "user" }], ...mappings }),
    },
  };
  const linux = { ...base.linux };
  const profileContext = {
    capabilities,
    architecture: context.host.architecture,
    kernelRelease: context.host.kernelRelease,
  };
  delete linux.seccomp;
  const seccomp = seccompFor({
    security: parseSecurityOptions(hostConfig.SecurityOpt ?? []),
    daemonDefault: context.defaultSeccomp,
    privileged: exec.request.Privileged || hostConfig.Privileged || false,
    context: profileContext,
  });
  if (seccomp !== undefined) linux.seccomp = seccomp;
  return { ...base, linux };
}
