/** A container's configuration from what the user asked and what the image says. Pure. */
import type { ContainerConfig } from "#api-types/container.ts";
import type { ImageContainerConfig } from "#api-types/image.ts";
import { BerthError } from "#errors/errors.ts";

/** The user's word goes first; the image fills what the user left open. Neither argument is changed. */
export function mergeConfig(user: ContainerConfig, image: ImageContainerConfig): ContainerConfig {
  const merged: ContainerConfig = { ...user };
  merged.User = user.User || image.User || "";
  merged.WorkingDir = user.WorkingDir || image.WorkingDir || "";
  const stopSignal = user.StopSignal || image.StopSignal;
  if (stopSignal) merged.StopSignal = stopSignal;
  const healthcheck = mergeHealthcheck(user.Healthcheck, image.Healthcheck);
  if (healthcheck !== undefined) merged.Healthcheck = healthcheck;
  const exposed = { ...image.ExposedPorts, ...user.ExposedPorts };
  delete merged.ExposedPorts;
  if (Object.keys(exposed).length > 0) merged.ExposedPorts = exposed;
  const volumes = { ...image.Volumes, ...user.Volumes };
  merged.Volumes = Object.keys(volumes).length > 0 ? volumes : null;
  merged.Labels = { ...image.Labels, ...user.Labels };
  merged.Env = mergeEnvironment(user.Env ?? [], image.Env ?? []);
  if (image.OnBuild) merged.OnBuild = image.OnBuild;

  // A given entrypoint makes the image's command meaningless; a given command keeps the image's entrypoint.
  let entrypoint = user.Entrypoint ?? null;
  let command = user.Cmd ?? null;
  if (entrypoint === null || entrypoint.length === 0) {
    if (command === null || command.length === 0) command = image.Cmd ?? null;
    if (entrypoint === null) entrypoint = image.Entrypoint ?? null;
  }
  // `--entrypoint ""` arrives as [""]: no entrypoint at all.
  if (entrypoint !== null && entrypoint.length === 1 && entrypoint[0] === "") entrypoint = null;
  merged.Entrypoint = entrypoint;
  merged.Cmd = command;
  return merged;
}

/** The program and its arguments; throws "invalid" when there is nothing to run. */
export function commandOf(config: ContainerConfig): { path: string; args: string[] } {
  const [path, ...args] = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  if (path === undefined || path === "") {
    throw new BerthError("invalid", "no command specified", {
      operation: "create container",
      hint: "name a command after the image, or use an image that has one",
    });
  }
  return { path, args };
}

/** The user's variables first, then the image's that the user did not set. */
function mergeEnvironment(user: readonly string[], image: readonly string[]): string[] {
  const set = new Set(user.map(variableName));
  return [...user, ...image.filter((entry) => !set.has(variableName(entry)))];
}

function variableName(entry: string): string {
  const at = entry.indexOf("=");
  return at < 0 ? entry : entry.slice(0, at);
}

function mergeHealthcheck(
  user: ContainerConfig["Healthcheck"],
  image: ImageContainerConfig["Healthcheck"],
): ContainerConfig["Healthcheck"] {
  if (user === undefined || image === undefined) return user ?? image;
  // Every field that the user left at its zero value is the image's.
  const given = Object.entries(user).filter(([, value]) => (Array.isArray(value) ? value.length > 0 : value));
  return { ...image, ...Object.fromEntries(given) };
}
