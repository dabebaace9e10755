/** `berth system df` */
import type { ContainerSummary } from "#api-types/container.ts";
import type { ImageSummary } from "#api-types/image.ts";
import type { Volume } from "#api-types/system.ts";
import type { Command } from "#cli/command.ts";
import { containerFormat, containerRow } from "#cli/output/container-row.ts";
import { imageFormat, imageRows } from "#cli/output/image-row.ts";
import { goJson, type ListFormat, plain, renderList } from "#cli/output/table.ts";
import { volumeFormat, volumeRow } from "#cli/output/volume-row.ts";
import { template } from "#go-template/template.ts";
import { humanSize } from "#go-values/size.ts";

interface Usage {
  LayersSize: number;
  Images: ImageSummary[] | null;
  Containers: ContainerSummary[] | null;
  Volumes: Volume[] | null;
}

const format: ListFormat = {
  columns: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
  headings: {
    Type: "TYPE",
    TotalCount: "TOTAL",
    Active: "ACTIVE",
    Size: "SIZE",
    Reclaimable: "RECLAIMABLE",
  },
  quiet: "Type",
};

const command: Command = {
  usage: "[OPTIONS]",
  flags: [
    { name: "format", type: "string", help: "'table', 'table TEMPLATE', 'json' or a Go template" },
    { name: "verbose", short: "v", type: "bool", help: "Every image, container and volume" },
  ],
  takes: [0, 0],
  async run(flags, context) {
    const client = await context.client();
    const usage = await client.json<Usage>("GET", "/system/df");
    const given = flags.string("format");
    context.stdout.write(
      flags.bool("verbose") ? verbose(usage, given) : renderList(summary(usage), format, given),
    );
    return 0;
  },
};
export default command;

function summary({ LayersSize, Images, Containers, Volumes }: Usage): object[] {
  const images = Images ?? [];
  const containers = Containers ?? [];
  const volumes = (Volumes ?? []).map(({ UsageData }) => UsageData ?? { Size: -1, RefCount: 0 });
  const used = images.filter((image) => image.Containers > 0);
  const running = containers.filter(({ State }) => ["running", "paused", "restarting"].includes(State));
  const mounted = volumes.filter(({ RefCount }) => RefCount > 0);
  const sum = <T>(items: readonly T[], of: (item: T) => number) =>
    items.reduce((total, item) => total + Math.max(0, of(item)), 0);
  const row = (Type: string, all: number, active: number, size: number, inUse: number) => ({
    Type,
    TotalCount: String(all),
    Active: String(active),
    Size: humanSize(size),
    Reclaimable: share(size - inUse, size),
  });
  const written = ({ SizeRw }: ContainerSummary) => SizeRw ?? 0;
  const own = ({ Size, SharedSize }: ImageSummary) => Size - SharedSize;
  return [
    row("Images", images.length, used.length, LayersSize, sum(used, own)),
    row("Containers", containers.length, running.length, sum(containers, written), sum(running, written)),
    row(
      "Local Volumes",
      volumes.length,
      mounted.length,
      sum(volumes, ({ Size }) => Size),
      sum(mounted, ({ Size }) => Size),
    ),
    row("Build Cache", 0, 0, 0, 0),
  ];
}

/** "2MB (40%)" */
function share(part: number, whole: number): string {
  return whole > 0 ? `${humanSize(part)} (${Math.trunc((part * 100) / whole)}%)` : humanSize(part);
}

const imageColumns =
  "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const containerColumns =
  "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const cacheHeading = "CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED";

function verbose({ Images, Containers, Volumes }: Usage, given: string): string {
  const short = given === "" || given === "table";
  // Of several names the first stands for all: the sizes are the image's.
  const images = (Images ?? []).flatMap((image) =>
    imageRows(image, { digests: false, truncate: short }).slice(0, 1),
  );
  const containers = (Containers ?? []).map(({ SizeRootFs: _, ...container }) =>
    containerRow(container as ContainerSummary, short),
  );
  const volumes = (Volumes ?? []).map(volumeRow);
  if (!short) {
    const all = {
      Images: images.map((image) => ({ ...plain(image), Digest: "" })),
      Containers: containers.map(plain),
      Volumes: volumes.map(plain),
      BuildCache: [],
    };
    return given === "json" ? goJson(all) : template(given)(all);
  }
  const columns = (text: string, list: ListFormat) => ({ ...list, columns: text });
  return [
    `Images space usage:\n\n${renderList(images, columns(imageColumns, imageFormat), "")}`,
    `Containers space usage:\n\n${renderList(containers, columns(containerColumns, containerFormat), "")}`,
    `Local Volumes space usage:\n\n${renderList(volumes, columns("{{.Name}}\t{{.Links}}\t{{.Size}}", volumeFormat), "")}`,
    `Build cache usage: 0B\n\n${cacheHeading}\n`,
  ].join("\n");
}
