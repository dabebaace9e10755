/**
 * Images as the version of the API that a client speaks shows them. What came and went:
 *
 *   1.43  no "<none>:<none>" for images without a name
 *   1.44  no VirtualSize, which always was the size; no date where there is none
 *   1.45  no Container and ContainerConfig, of the container it was committed from
 *   1.50  only fields of the image specification in Config
 *   1.51  the list counts containers
 */
import type { ImageContainerConfig, ImageInspect, ImageSummary } from "#api-types/image.ts";
import { type ApiVersion, atLeast } from "./versions.ts";

export function imageSummary(image: ImageSummary, version: ApiVersion): ImageSummary {
  const { VirtualSize: _, ...shown } = image;
  if (!atLeast(version, "1.43") && shown.RepoTags.length === 0 && shown.RepoDigests.length === 0) {
    shown.RepoTags = ["<none>:<none>"];
    shown.RepoDigests = ["<none>@<none>"];
  }
  return atLeast(version, "1.44") ? shown : { ...shown, VirtualSize: image.Size };
}

/** Go's zero time, which stood where there is no date. */
const noDate = "0001-01-01T00:00:00Z";

export function imageInspect(image: ImageInspect, version: ApiVersion): Record<string, unknown> {
  const { VirtualSize: _, Container, ContainerConfig, Config, Created, ...shown } = image;
  return {
    ...shown,
    ...(atLeast(version, "1.44")
      ? Created !== undefined && { Created }
      : { Created: Created ?? noDate, VirtualSize: image.Size }),
    ...(!atLeast(version, "1.45") && {
      Container: Container ?? "",
      ContainerConfig: wholeConfig(ContainerConfig ?? {}),
    }),
    Config: Config && (atLeast(version, "1.50") ? specifiedConfig(Config) : wholeConfig(Config)),
  };
}

/** Fields of the image specification's configuration and of Docker's additions to it; what is empty is left out. */
const specified: readonly (keyof ImageContainerConfig)[] = [
  "User",
  "ExposedPorts",
  "Env",
  "Entrypoint",
  "Cmd",
  "Volumes",
  "WorkingDir",
  "Labels",
  "StopSignal",
  "ArgsEscaped",
  "Healthcheck",
  "OnBuild",
  "Shell",
];

function specifiedConfig(config: ImageContainerConfig): ImageContainerConfig {
  return Object.fromEntries(
    specified.flatMap((field) => (isEmpty(config[field]) ? [] : [[field, config[field]]])),
  );
}

/** The configuration of a container, with everything that one always has. */
function wholeConfig(config: ImageContainerConfig): Record<string, unknown> {
  const given = config as Record<string, unknown>;
  const optional = ["ExposedPorts", "Healthcheck", "ArgsEscaped", "NetworkDisabled", "MacAddress"];
  const more = [...optional, "StopSignal", "StopTimeout", "Shell"].filter((field) => !isEmpty(given[field]));
  return {
    ...Object.fromEntries(["Hostname", "Domainname", "User"].map((field) => [field, given[field] ?? ""])),
    ...Object.fromEntries(
      ["AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce"].map((field) => [
        field,
        given[field] ?? false,
      ]),
    ),
    Env: given.Env ?? null,
    Cmd: given.Cmd ?? null,
    Image: given.Image ?? "",
    Volumes: given.Volumes ?? null,
    WorkingDir: given.WorkingDir ?? "",
    Entrypoint: given.Entrypoint ?? null,
    OnBuild: given.OnBuild ?? null,
    Labels: given.Labels ?? null,
    ...Object.fromEntries(more.map((field) => [field, given[field]])),
  };
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === "" || value === false || value === 0) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}
