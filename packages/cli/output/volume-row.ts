/** Lines of `volume ls` and of the volumes in `system df -v`. */
import type { Volume } from "#api-types/system.ts";
import { labels } from "#cli/output/container-row.ts";
import type { ListFormat } from "#cli/output/table.ts";
import { humanSize } from "#go-values/size.ts";

export const volumeFormat: ListFormat = {
  columns: "{{.Driver}}\t{{.Name}}",
  headings: {
    Driver: "DRIVER",
    Name: "VOLUME NAME",
    Scope: "SCOPE",
    Mountpoint: "MOUNTPOINT",
    Labels: "LABELS",
    Links: "LINKS",
    Size: "SIZE",
    Status: "STATUS",
    Group: "GROUP",
    Availability: "AVAILABILITY",
  },
  quiet: "Name",
};

export function volumeRow(volume: Volume): object {
  return {
    Availability: "N/A",
    Driver: volume.Driver,
    Group: "N/A",
    Label: volume.Labels ?? {},
    Labels: labels(volume.Labels),
    Links: volume.UsageData ? String(volume.UsageData.RefCount) : "N/A",
    Mountpoint: volume.Mountpoint,
    Name: volume.Name,
    Scope: volume.Scope,
    Size: volume.UsageData ? humanSize(volume.UsageData.Size) : "N/A",
    Status: "N/A",
  };
}
