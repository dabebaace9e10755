/** Options of volumes of the local driver, checked at their creation. Pure; the error texts are Docker's. */
import { BerthError } from "#errors/errors.ts";
import { parseSize } from "#go-values/size.ts";

export interface LocalOptions {
  type?: string;
  device?: string;
  o?: string;
  size?: string;
}

const KNOWN = ["type", "device", "o", "size"];
/** What makes no sense without what else. */
const NEEDS: readonly (readonly [option: string, others: readonly string[]])[] = [
  ["device", ["type"]],
  ["type", ["device"]],
  ["o", ["device", "type"]],
];

/** Throws "invalid". `noQuota`: why no size can be kept; undefined where it can. */
export function checkLocalOptions(
  options: Record<string, string>,
  name: string,
  noQuota: () => string | undefined,
): void {
  const refuse = (why: string, hint?: string) =>
    new BerthError("invalid", `create ${name}: ${why}`, {
      operation: "create volume",
      object: name,
      ...(hint === undefined ? {} : { hint }),
    });
  const unknown = Object.keys(options).find((key) => !KNOWN.includes(key));
  if (unknown !== undefined) {
    throw refuse(
      `invalid option: ${JSON.stringify(unknown)}`,
      "the local driver takes type, device, o and size",
    );
  }
  const { type, device, size } = options;
  if (type === "cifs" && device !== undefined && /^(?:[a-z]+:)?\/\/[^/]*:\d+/i.test(device)) {
    throw refuse("port not allowed in CIFS device URL, include 'port' in 'o='");
  }
  if (size !== undefined) {
    const bytes = parseSize(size);
    if (bytes === undefined) throw refuse(`invalid size: '${size}'`);
    const reason = bytes > 0 ? noQuota() : undefined;
    if (reason !== undefined) {
      throw refuse(
        `quota size requested but no quota support: ${reason}`,
        "a limit can be had with a tmpfs: --opt type=tmpfs --opt device=tmpfs --opt o=size=…",
      );
    }
  }
  for (const [option, others] of NEEDS) {
    const missing = option in options ? others.find((other) => !(other in options)) : undefined;
    if (missing !== undefined) throw refuse(`missing required option: ${JSON.stringify(missing)}`);
  }
}

/** How many bytes may be written to it; undefined for no limit. */
export function sizeLimit({ size }: LocalOptions): number | undefined {
  return size === undefined ? undefined : parseSize(size) || undefined;
}

/** Is it more than a directory? */
export function needsMount({ type = "", device = "" }: LocalOptions): boolean {
  return type !== "" || device !== "";
}
