/** Images, volumes and networks beside the ledger. */
import type { ImageSummary } from "#api-types/image.ts";
import type { NetworkResource } from "#api-types/network.ts";
import { BASE_IMAGE } from "./actions.ts";
import type { Witness } from "./check-containers.ts";
import type { Dice } from "./dice.ts";
import type { ThingKind } from "./ledger.ts";

/** Names that no client made. */
const GIVEN = new Set(["bridge", "host", "none", `${BASE_IMAGE}:latest`]);

export async function checkThings(witness: Witness): Promise<void> {
  const { clients } = witness;
  const images = await clients.get<ImageSummary[]>("/images/json");
  settle(
    witness,
    "image",
    images.flatMap(({ RepoTags }) => RepoTags ?? []),
  );
  const { Volumes } = await clients.get<{ Volumes: { Name: string }[] }>("/volumes");
  // Anonymous volumes go with their containers.
  settle(
    witness,
    "volume",
    Volumes.map(({ Name }) => Name).filter((name) => name.length < 64),
  );
  const networks = await clients.get<NetworkResource[]>("/networks");
  settle(
    witness,
    "network",
    networks.map(({ Name }) => Name),
  );
}

function settle({ ledger, violation }: Witness, kind: ThingKind, names: readonly string[]): void {
  const things = ledger.things[kind];
  if (new Set(names).size !== names.length) violation(`a name twice among ${kind}s: ${names.join(" ")}`);
  for (const thing of [...things.values()]) {
    if (names.includes(thing.name)) thing.doubt = false;
    else {
      if (!thing.doubt) violation(`${kind} ${thing.name} is gone`);
      things.delete(thing.name);
    }
  }
  for (const name of names) {
    if (!things.has(name) && !GIVEN.has(name)) violation(`${kind} ${name} was removed, or never asked for`);
  }
}

/** A command in an image of those listed; those without one are looked at layer by layer elsewhere. */
export async function checkImageRuns(witness: Witness, dice: Dice, runnable: (name: string) => boolean) {
  const images = await witness.clients.get<ImageSummary[]>("/images/json");
  const names = images.flatMap(({ RepoTags }) => RepoTags ?? []).filter(runnable);
  const name = dice.pick(names);
  if (name === undefined) return;
  const { status, body } = await witness.clients.docker("run", "--rm", "--pull=never", name, "echo", "runs");
  if (status !== 200 || body !== "runs\n") witness.violation(`image ${name} does not run: ${body}`);
}
