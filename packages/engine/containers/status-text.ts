/** The STATUS column of `docker ps`. Pure. */
import type { ContainerState } from "#api-types/container.ts";
import { parseNanoseconds } from "#engine/timestamps.ts";

/** "Up 5 minutes (Paused)", "Exited (0) 2 hours ago", "Created". `now` in nanoseconds. */
export function statusText(state: ContainerState, now: bigint): string {
  const since = (time: string) => durationText(Number(now - parseNanoseconds(time)) / 1e9);
  switch (state.Status) {
    case "running":
      return `Up ${since(state.StartedAt)}${healthText(state)}`;
    case "paused":
      return `Up ${since(state.StartedAt)} (Paused)`;
    case "restarting":
      return `Restarting (${state.ExitCode}) ${since(state.FinishedAt)} ago`;
    case "removing":
      return "Removal In Progress";
    case "dead":
      return "Dead";
    case "created":
      return "Created";
    case "exited":
      return `Exited (${state.ExitCode}) ${since(state.FinishedAt)} ago`;
  }
}

function healthText({ Health }: ContainerState): string {
  if (Health === undefined) return "";
  return Health.Status === "starting" ? " (health: starting)" : ` (${Health.Status})`;
}

/** A length of time in words, with the steps Docker's command line uses. `seconds` may be a fraction. */
export function durationText(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 1) return "Less than a second";
  if (whole === 1) return "1 second";
  if (whole < 60) return `${whole} seconds`;
  const minutes = Math.floor(whole / 60);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  // Hours are rounded, as the words are meant for people.
  const hours = Math.floor(whole / 3600 + 0.5);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
}
