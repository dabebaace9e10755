/** POST /containers/create by clients of older versions: what they take for granted, and what they cannot mean yet. */
import type { ContainerCreateRequest, HostConfig } from "#api-types/container.ts";
import { BerthError } from "#errors/errors.ts";
import { type ApiVersion, atLeast } from "./versions.ts";

/** Changes the request to what the same one means today. Throws "invalid" for what needs a newer version. */
export function applyOldDefaults(request: ContainerCreateRequest, version: ApiVersion): void {
  if (atLeast(version, "1.48")) return;
  const host = request.HostConfig ?? {};
  request.HostConfig = host;
  refuseNewer(host, version);
  ignoreNewerEndpoints(request, version);
  ignoreNewerMounts(host, version);
  if (!atLeast(version, "1.44") && request.Healthcheck !== undefined)
    delete request.Healthcheck.StartInterval;
  if (!atLeast(version, "1.43")) delete host.Annotations;
  if (!atLeast(version, "1.42")) delete host.ConsoleSize;
  if (!atLeast(version, "1.41")) host.CgroupnsMode ||= "host";
  if (!atLeast(version, "1.40")) {
    host.IpcMode ||= "shareable";
    delete host.KernelMemoryTCP;
  }
  if (!atLeast(version, "1.25")) host.AutoRemove = false;
}

function refuseNewer(host: HostConfig, version: ApiVersion): void {
  const mounts = host.Mounts ?? [];
  const refuse = (what: string, since: `${number}.${number}`) => {
    if (atLeast(version, since)) return;
    throw new BerthError("invalid", `${what} needs API v${since} or newer`, {
      operation: "create container",
    });
  };
  if (mounts.some(({ Type }) => Type === "image")) refuse('Mount type "Image"', "1.48");
  if (mounts.some(({ VolumeOptions }) => VolumeOptions?.Subpath)) refuse("VolumeOptions.Subpath", "1.45");
  if (mounts.some(({ BindOptions }) => BindOptions?.ReadOnlyForceRecursive))
    refuse("BindOptions.ReadOnlyForceRecursive", "1.44");
}

function ignoreNewerEndpoints(request: ContainerCreateRequest, version: ApiVersion): void {
  const endpoints = request.NetworkingConfig?.EndpointsConfig ?? {};
  const names = Object.keys(endpoints);
  for (const endpoint of Object.values(endpoints)) {
    delete endpoint.GwPriority;
    if (!atLeast(version, "1.44")) delete endpoint.MacAddress;
  }
  if (atLeast(version, "1.44") || names.length < 2) return;
  throw new BerthError("invalid", `Container cannot be created with network endpoints: ${names.join(", ")}`, {
    operation: "create container",
    hint: "API version 1.44 and newer allow several networks at creation.",
  });
}

function ignoreNewerMounts(host: HostConfig, version: ApiVersion): void {
  for (const mount of host.Mounts ?? []) {
    if (!atLeast(version, "1.46")) delete mount.TmpfsOptions?.Options;
    if (!atLeast(version, "1.42")) {
      delete mount.BindOptions?.CreateMountpoint;
      // Of mounts of another type these were not looked at.
      if (mount.Type !== "volume") delete mount.VolumeOptions;
      if (mount.Type !== "tmpfs") delete mount.TmpfsOptions;
    }
    if (!atLeast(version, "1.40")) delete mount.BindOptions?.NonRecursive;
  }
}
