/** Images, volumes and networks beside the ledger. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ImageSummary } from "#api-types/image.ts";
import type { NetworkResource } from "#api-types/network.ts";
import { BASE_IMAGE } from "./actions.ts";
import type { Witness } from "./check-containers.ts";
import type { Dice } from "./dice.ts";
import type { ThingKind } from "./ledger.ts";

/** At most so many images are run in a round. */
const IMAGES_TRIED = 2;

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
    if (things.has(name) || GIVEN.has(name)) continue;
    violation(`${kind} ${name} was removed, or never asked for`);
    // It is there; one violation is enough.
    things.set(name, { name, doubt: false, busy: false });
  }
}

/** A command in each of a few images; those without one are looked at layer by layer elsewhere. */
export async function checkImagesRun(witness: Witness, dice: Dice, runnable: (name: string) => boolean) {
  const images = await witness.clients.get<ImageSummary[]>("/images/json");
  const names = images.flatMap(({ RepoTags }) => RepoTags ?? []).filter(runnable);
  for (let times = Math.min(IMAGES_TRIED, names.length); times > 0; times--) {
    const name = names.splice(dice.between(0, names.length - 1), 1)[0] as string;
    const stamp = witness.ledger.things.image.get(name)?.stamp ?? "";
    // Every step has a file of its own too.
    const files = stamp === "" ? "" : `cat /steps; for f in $(cat /steps); do cat /step-$f; done; `;
    const ran = ["run", "--rm", "--pull=never", name, "sh", "-c", `${files}echo runs`];
    const { status, body } = await witness.clients.docker(...ran);
    if (status !== 200 || body !== `${stamp}${stamp}runs\n`)
      witness.violation(`image ${name} does not run as it should: ${body}`);
  }
}

/** What was written in a volume is there. */
export function checkVolumes({ ledger, violation }: Witness, dataRoot: string): void {
  for (const volume of ledger.freeThings("volume")) {
    if (volume.stamp === undefined) continue;
    try {
      const found = readFileSync(join(dataRoot, "volumes", volume.name, "_data/stamp"), "utf8");
      if (found !== volume.stamp) violation(`volume ${volume.name} holds ${JSON.stringify(found)}`);
    } catch (error) {
      violation(`volume ${volume.name} has lost its file: ${error}`);
      delete volume.stamp;
    }
  }
}
