/** One file of a control group and what is to be written into it; numbers as the kernel reads them. Pure. */

export interface CgroupWrite {
  controller: string;
  file: string;
  value: string;
  /** Not every kernel has the file; do without. */
  optional?: boolean;
  /** Written only where the kernel doesn't have this file, whose work it then does. */
  unless?: string;
  /** Of a running container: a refusal (EINVAL) doesn't matter, the value is written again once another is changed. */
  again?: boolean;
}

/** A write of `<controller>.<file>`; none for what is not said: undefined, null, "". */
export function write(
  controller: string,
  file: string,
  value: string | number | undefined | null,
  options: Pick<CgroupWrite, "optional" | "unless" | "again"> = {},
): CgroupWrite[] {
  if (value === undefined || value === null || value === "") return [];
  const text = typeof value === "number" ? decimal(value) : value;
  return [{ controller, file: `${controller}.${file}`, value: text, ...options }];
}

/** In OCI's resources 0 mostly means that nothing is said. */
export function unlessZero(value: number | undefined | null): number | undefined {
  return value === 0 || value === null ? undefined : value;
}

/** -1 is "no limit" in the configuration, "max" in the files; 0 says nothing. */
export function orMax(value: number | undefined | null): string | undefined {
  if (value === undefined || value === null || value === 0) return undefined;
  return value < 0 ? "max" : decimal(value);
}

/** All digits: limits near 2^63 are usual, and neither exact nor without an exponent as they are. */
export function decimal(value: number): string {
  return Number.isSafeInteger(value) ? String(value) : BigInt(value).toString();
}
