/**
 * Works with a storage driver until it is killed, and says on its output what it is about to do and what it has done.
 *
 * Arguments: data root, driver's name, seed, the driver's options. Run by driver-crashes.ts.
 */
import { writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { silentLogger } from "#errors/logger-types.ts";
import { holdLayers } from "#storage/hold-layers.ts";
import { openStorageDriver } from "#storage/open-driver.ts";

const [dataRoot = "", name = "", seed = "0", ...options] = process.argv.slice(2);
const driver = openStorageDriver({ dataRoot, name, options, logger: silentLogger });
await driver.start?.();
const say = (line: string) => writeSync(1, `${line}\n`);

const image = `image-${seed}`;
say(`making ${image}`);
await driver.create(image, undefined);
{
  await using _held = await holdLayers(driver, "content", image);
  for (let i = 0; i < 300; i++) writeFileSync(join(driver.diffPath(image), `file-${i}`), String(i));
}
say(`made ${image}`);
for (let round = 0; ; round++) {
  const layer = `layer-${seed}-${round}`;
  const container = `container-${seed}-${round}`;
  say(`making ${layer}`);
  await driver.create(layer, image);
  say(`made ${layer}`);
  say(`making ${container}`);
  await driver.createWritable(container, layer, {});
  say(`made ${container}`);
  if (round % 3 === 2) continue;
  say(`removing ${container}`);
  await driver.remove(container);
  say(`removed ${container}`);
  say(`removing ${layer}`);
  await driver.remove(layer);
  say(`removed ${layer}`);
}
