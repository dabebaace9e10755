/**
 * `--gpus`, and whatever else is asked of a device driver by what it can do. There are no such drivers: a container that
 * needs one does not start. Pure.
 */
import type { HostConfig } from "#api-types/container.ts";
import { BerthError } from "#errors/errors.ts";

/** Throws "invalid" with Docker's text for the first request. */
export function refuseDeviceRequests({ DeviceRequests }: HostConfig): void {
  const [first] = (DeviceRequests ?? []) as { Driver?: string; Capabilities?: string[][] | null }[];
  if (first === undefined) return;
  const groups = (first.Capabilities ?? []).map((names) => `[${names.join(" ")}]`).join(" ");
  throw new BerthError(
    "invalid",
    `could not select device driver ${JSON.stringify(first.Driver ?? "")} with capabilities: [${groups}]`,
    {
      operation: "start container",
      hint: "give the container device files with --device",
    },
  );
}
