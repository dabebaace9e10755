/** Lines of `history`: one for each step an image was made in. */
import type { ImageHistoryItem } from "#api-types/image.ts";
import { timeAgo } from "#cli/durations.ts";
import type { ListFormat } from "#cli/output/table.ts";
import { ellipsis, shortId, zonedTime } from "#cli/output/text.ts";
import { humanSize } from "#go-values/size.ts";

export const historyFormat: ListFormat = {
  columns: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
  headings: {
    ID: "IMAGE",
    CreatedSince: "CREATED",
    CreatedAt: "CREATED AT",
    CreatedBy: "CREATED BY",
    Size: "SIZE",
    Comment: "COMMENT",
  },
  quiet: "ID",
};

/** Characters of an instruction that are shown. */
const shown = 45;

export function historyRow(item: ImageHistoryItem, options: { truncate: boolean; human: boolean }): object {
  const createdBy = item.CreatedBy.replaceAll("\t", " ");
  const createdAt = zonedTime(item.Created * 1000, "").replace(/\.(?=Z|[+-])/, "");
  return {
    Comment: item.Comment,
    CreatedAt: createdAt,
    CreatedBy: options.truncate ? ellipsis(createdBy, shown) : createdBy,
    CreatedSince: options.human ? timeAgo(item.Created) : createdAt,
    ID: options.truncate && item.Id !== "<missing>" ? shortId(item.Id) : item.Id,
    Size: options.human ? humanSize(item.Size, 3) : String(item.Size),
  };
}
