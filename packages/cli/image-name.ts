/** Names of images as users write them and as the API wants them. Loose: the daemon is the judge of what is a name. */

export interface ImageName {
  /** Without tag and digest. */
  repository: string;
  /** "latest", or "sha256:…" for a digest; "" if none was written. */
  tag: string;
}

export function splitImageName(name: string): ImageName {
  const digest = name.indexOf("@");
  if (digest >= 0)
    return { repository: name.slice(0, digest).replace(/:[^/:]*$/, ""), tag: name.slice(digest + 1) };
  const colon = name.lastIndexOf(":");
  // A colon before a slash belongs to a registry's port.
  if (colon < 0 || name.includes("/", colon)) return { repository: name, tag: "" };
  return { repository: name.slice(0, colon), tag: name.slice(colon + 1) };
}

/** With the tag that is meant when none is written. */
export function withDefaultTag(name: string): string {
  return splitImageName(name).tag === "" ? `${name}:latest` : name;
}

/** The key of the registry in the credentials file. */
export function registryOf(repository: string): string {
  const [first = "", ...rest] = repository.split("/");
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  return isHost && first !== "docker.io" && first !== "index.docker.io"
    ? first
    : "https://index.docker.io/v1/";
}

/** "docker.io/library/busybox:latest": said when a pull is complete. */
export function fullName(name: string): string {
  const { repository } = splitImageName(name);
  const hub = registryOf(repository).startsWith("https://");
  const path = repository.replace(/^(index\.)?docker\.io\//, "");
  const prefix = hub ? (path.includes("/") ? "docker.io/" : "docker.io/library/") : "";
  return prefix + withDefaultTag(hub ? name.replace(/^(index\.)?docker\.io\//, "") : name);
}
