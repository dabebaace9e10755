/**
 * Making a container: the request is checked and completed, its row written, then its volumes, directories and
 * writable layer made. When a step fails, everything made so far is removed, the row last.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { hostname } from "node:os";
import type {
  ContainerConfig,
  ContainerCreateRequest,
  ContainerCreateResponse,
} from "#api-types/container.ts";
import type { Container } from "#engine/containers/container.ts";
import { containerDirectory } from "#engine/containers/container-paths.ts";
import { type ContainerRecord, neverRun } from "#engine/containers/container-record.ts";
import { randomName } from "#engine/containers/random-name.ts";
import { purge } from "#engine/containers/remove.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { checkHealthcheck } from "#engine/health/health-check.ts";
import { checkLogDriver } from "#engine/launch/log-plan.ts";
import { checkSecurityOptions } from "#engine/launch/security-options.ts";
import { checkUserNamespace, containerRoot } from "#engine/launch/user-namespace.ts";
import { makeVolumes } from "#engine/mounts/container-volumes.ts";
import { resolveMounts } from "#engine/mounts/resolve-mounts.ts";
import { endpointsOfRequest } from "#engine/networking/endpoint-wishes.ts";
import { resolveLinks } from "#engine/networking/legacy-links.ts";
import { checkContainerConfig } from "#engine/requests/check-container-config.ts";
import { checkModes } from "#engine/requests/check-modes.ts";
import { commandOf, mergeConfig } from "#engine/requests/merge-config.ts";
import { completeHostConfig } from "#engine/requests/validate-host-config.ts";
import { checkRealtime, discardKernelMemory } from "#engine/system/kernel-support.ts";
import { formatNanoseconds, nowNanoseconds } from "#engine/timestamps.ts";
import { BerthError } from "#errors/errors.ts";
import type { Image } from "#images/image-types.ts";
import { resolveCapabilities } from "#runtime/capabilities.ts";

/** Bytes, uname(2): the kernel takes no more. */
const MAX_HOSTNAME = 64;

/** Throws "not-found" for an unknown image, "conflict" for a taken name, "invalid" for what can never work. */
export async function createContainer(
  context: EngineContext,
  name: string,
  request: ContainerCreateRequest,
  platform: string,
): Promise<ContainerCreateResponse> {
  const begun = performance.now();
  const { record, warnings, image } = composeRecord(context, name, request, platform);
  const container = context.containers.add(record);
  container.times.begin("create", begun);
  container.times.mark("create", "request checked, row written");
  // It can be found from now on: who wants it started or removed waits until it is whole.
  await container.queue.run(() => make(context, container, image));
  return { Id: record.id, Warnings: warnings };
}

async function make(context: EngineContext, container: Container, image: Image): Promise<void> {
  const { record, times } = container;
  try {
    mkdirSync(containerDirectory(context.config, record.id), { recursive: true, mode: 0o710 });
    await context.storage.createWritable(record.id, image.topLayer, {
      ...containerRoot(context),
      size: context.storage.sizeLimit(record.hostConfig.StorageOpt ?? {}),
    });
    times.mark("create", "directory and layers");
    await makeVolumes(context, record);
    record.phase = "present";
    context.containers.save(container);
  } catch (error) {
    await unmake(context, container);
    throw error;
  }
  publishContainerEvent(context, container, "create");
  times.mark("create", "volumes, row, event");
}

/** Never throws: what cannot be removed now the next daemon removes, by the row that stays. */
async function unmake(context: EngineContext, container: Container): Promise<void> {
  try {
    context.containers.retire(container, true);
  } catch {
    // By its row it is still being made, and nobody shall find it.
    context.containers.drop(container);
  }
  try {
    await purge(context, container.record, true);
  } catch (error) {
    context.logger.error("a half-made container cannot be removed", { container: container.id, error });
  }
}

/** Everything that can be refused is refused here, before anything is made. */
function composeRecord(
  context: EngineContext,
  name: string,
  request: ContainerCreateRequest,
  platform: string,
): { record: ContainerRecord; warnings: string[]; image: Image } {
  const { HostConfig, NetworkingConfig, readOnlyMountAlone, ...userConfig } = request;
  if (!userConfig.Image) {
    throw new BerthError("invalid", "no image specified", { operation: "create container", object: name });
  }
  const image = context.images.resolve(userConfig.Image);
  checkPlatform(image, userConfig.Image, platform);
  const id = randomBytes(32).toString("hex");
  const config = mergeConfig(userConfig, image.config);
  const { path, args } = commandOf(config);
  const { hostConfig, warnings } = completeHostConfig(HostConfig ?? {}, context.limits);
  checkLogDriver(hostConfig);
  context.storage.sizeLimit(hostConfig.StorageOpt ?? {});
  checkSecurityOptions(hostConfig);
  resolveCapabilities({
    add: hostConfig.CapAdd ?? [],
    drop: hostConfig.CapDrop ?? [],
    privileged: hostConfig.Privileged ?? false,
  });
  checkHealthcheck(config.Healthcheck);
  checkContainerConfig(config);
  warnings.push(
    ...checkModes(userConfig, hostConfig, { container: (other) => context.containers.get(other) }),
  );
  checkUserNamespace(context.idMap, hostConfig);
  checkRealtime(hostConfig, context.limits);
  warnings.push(...discardKernelMemory(hostConfig));
  completeIdentity(config, hostConfig.NetworkMode ?? "bridge", id);
  const mounts = resolveMounts(config, hostConfig, {
    container: (other) => context.containers.get(other).record,
    image: (reference) => context.images.resolve(reference),
    dataRoot: context.config.dataRoot,
    readOnlyMountAlone: readOnlyMountAlone ?? false,
  });
  const links = resolveLinks(context.containers, hostConfig.Links ?? [], hostConfig.NetworkMode ?? "");
  const record: ContainerRecord = {
    id,
    name: name.replace(/^\//, "") || randomName((candidate) => context.containers.isNameTaken(candidate)),
    phase: "creating",
    created: formatNanoseconds(nowNanoseconds()),
    imageId: image.id,
    imageName: userConfig.Image,
    config,
    hostConfig,
    endpoints: endpointsOfRequest(
      context.networks,
      NetworkingConfig?.EndpointsConfig ?? {},
      hostConfig.NetworkMode ?? "bridge",
    ),
    ...(links.length > 0 && { links }),
    mounts,
    path,
    args,
    state: neverRun(),
    restartCount: 0,
    startTicks: "",
    manuallyStopped: false,
    populated: false,
  };
  return { record, warnings, image };
}

/** The short id where no host name was given; the host's own with the host's network. */
function completeIdentity(config: ContainerConfig, networkMode: string, id: string): void {
  if (!config.Hostname) config.Hostname = networkMode === "host" ? hostname() : id.slice(0, 12);
  config.Domainname ??= "";
  if (config.Hostname.length > MAX_HOSTNAME) {
    throw new BerthError("invalid", `invalid hostname format: ${config.Hostname}`, {
      operation: "create container",
    });
  }
}

function checkPlatform(image: Image, reference: string, platform: string): void {
  if (platform === "") return;
  const [os = "", architecture = ""] = platform.split("/");
  if ((os && os !== image.os) || (architecture && architecture !== image.architecture)) {
    throw new BerthError(
      "not-found",
      `image with reference ${reference} was found but does not provide the specified platform (${platform})`,
      { operation: "create container", object: reference },
    );
  }
}
