/** Lines of `images`: one for each name that an image has. */
import type { ImageSummary } from "#api-types/image.ts";
import { timeAgo } from "#cli/durations.ts";
import { splitImageName } from "#cli/image-name.ts";
import type { ListFormat } from "#cli/output/table.ts";
import { localTime, shortId } from "#cli/output/text.ts";
import { humanSize } from "#go-values/size.ts";

export const imageFormat: ListFormat = {
  columns: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
  headings: {
    Repository: "REPOSITORY",
    Tag: "TAG",
    Digest: "DIGEST",
    ID: "IMAGE ID",
    CreatedSince: "CREATED",
    CreatedAt: "CREATED AT",
    Size: "SIZE",
    Containers: "CONTAINERS",
    VirtualSize: "SIZE",
    SharedSize: "SHARED SIZE",
    UniqueSize: "UNIQUE SIZE",
  },
  quiet: "ID",
};

const NONE = "<none>";

interface Name {
  repository: string;
  tag: string;
  digest: string;
}

export function imageRows(image: ImageSummary, options: { digests: boolean; truncate: boolean }): object[] {
  return names(image, options.digests).map(({ repository, tag, digest }) => ({
    Containers: image.Containers >= 0 ? String(image.Containers) : "N/A",
    CreatedAt: localTime(image.Created * 1000),
    CreatedSince: timeAgo(image.Created),
    Digest: digest,
    ID: options.truncate ? shortId(image.Id) : image.Id,
    Repository: repository,
    SharedSize: image.SharedSize >= 0 ? humanSize(image.SharedSize) : "N/A",
    Size: humanSize(image.Size, 3),
    Tag: tag,
    UniqueSize: image.SharedSize >= 0 ? humanSize(image.Size - image.SharedSize) : "N/A",
    VirtualSize: humanSize(image.Size),
  }));
}

/** A digest belongs to the tags of its repository; one without a tag has a line of its own. */
function names(image: ImageSummary, withDigests: boolean): Name[] {
  const tags = (image.RepoTags ?? []).filter((name) => name !== "<none>:<none>").map(splitImageName);
  const digests = (image.RepoDigests ?? []).filter((name) => name !== "<none>@<none>").map(splitImageName);
  const result: Name[] = [];
  for (const { repository, tag } of tags) {
    const own = withDigests ? digests.filter((digest) => digest.repository === repository) : [];
    if (own.length === 0) result.push({ repository, tag, digest: NONE });
    for (const digest of own) result.push({ repository, tag, digest: digest.tag });
  }
  for (const { repository, tag: digest } of digests)
    if (!tags.some((name) => name.repository === repository)) result.push({ repository, tag: NONE, digest });
  return result.length > 0 ? result : [{ repository: NONE, tag: NONE, digest: NONE }];
}
