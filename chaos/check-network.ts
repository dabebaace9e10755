/** Do published ports lead to who published them, and do names of user networks lead to who has them? */
import { request } from "node:http";
import type { ContainerInspect } from "#api-types/container.ts";
import type { NetworkResource } from "#api-types/network.ts";
import type { Witness } from "./check-containers.ts";
import type { Dice } from "./dice.ts";
import type { ChaosContainer } from "./ledger.ts";
import { wrongForLong } from "./soon.ts";

/** At most so many of each are tried in a round. */
const TRIED = 4;

/** `gateway`: an address of the host's that is not loopback. */
export async function checkPorts(witness: Witness, dice: Dice, gateway: string): Promise<void> {
  const serving = witness.ledger.free("running").filter(({ serves, cutOff }) => serves && !cutOff);
  for (let times = Math.min(TRIED, serving.length); times > 0; times--) {
    const container = serving.splice(dice.between(0, serving.length - 1), 1)[0] as ChaosContainer;
    for (const host of ["127.0.0.1", gateway]) await checkPort(witness, container, host);
  }
}

async function checkPort(witness: Witness, container: ChaosContainer, host: string): Promise<void> {
  const wrong = await wrongForLong(async () => {
    const { State, NetworkSettings } = await witness.clients.get<ContainerInspect>(
      `/containers/${container.id}/json`,
    );
    if (!State.Running || State.Paused) return [];
    const port = NetworkSettings.Ports?.["80/tcp"]?.[0]?.HostPort;
    if (port === undefined) return ["is not published"];
    const said = await ask(host, Number(port));
    return said.trim() === container.id.slice(0, 12) ? [] : [`${port} answers ${said}`];
  });
  for (const one of wrong) witness.violation(`the port of ${container.name} on ${host}: ${one}`);
}

function ask(host: string, port: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const sent = request({ host, port, path: "/id", agent: false, timeout: 1000 }, (answer) => {
    let text = "";
    answer.on("data", (chunk) => {
      text += chunk;
    });
    answer.on("error", () => {});
    answer.on("close", () => resolve(text));
  });
  sent.on("timeout", () => sent.destroy(new Error("nothing in a second")));
  sent.on("error", (error) => resolve(String(error)));
  sent.end();
  return promise;
}

/** In user networks of several containers one asks for another by its name, and reaches it. */
export async function checkNames(witness: Witness, dice: Dice): Promise<void> {
  const { clients, ledger, violation } = witness;
  for (const { name } of ledger.freeThings("network")) {
    const { Containers } = await clients.get<NetworkResource>(`/networks/${name}`);
    const there = Object.entries(Containers ?? {}).flatMap(([id, { IPv4Address }]) => {
      const known = ledger.free("running").find((one) => one.id === id && one.kind === "counting");
      return known === undefined ? [] : [{ known, address: IPv4Address.split("/")[0] ?? "" }];
    });
    const asking = dice.pick(there);
    // Its own name is in its hosts file.
    const asked = dice.pick(there.filter((one) => one !== asking));
    if (asking === undefined || asked === undefined) continue;
    const wrong = await wrongForLong(async () => {
      const ran = await clients.exec(asking.known.id, "ping", "-c", "1", "-W", "2", asked.known.name);
      if (ran === undefined || !(await goOn(witness, asking.known, asked.known))) return [];
      const cut = asking.known.cutOff || asked.known.cutOff;
      // They may have another network in common.
      const { NetworkSettings } = await clients.get<ContainerInspect>(`/containers/${asked.known.id}/json`);
      const addresses = Object.values(NetworkSettings.Networks).map(({ IPAddress }) => `(${IPAddress})`);
      const right = addresses.some((address) => address !== "()" && ran.text.includes(address));
      return right && (cut || ran.code === 0) ? [] : [ran.text.trim()];
    });
    for (const one of wrong)
      violation(`in ${name}, ${asking.known.name} asks for ${asked.known.name} (${asked.address}): ${one}`);
  }
}

async function goOn({ clients }: Witness, ...containers: ChaosContainer[]): Promise<boolean> {
  for (const { id } of containers) {
    const seen = await clients.ask("GET", `/containers/${id}/json`);
    if (seen.status !== 200) return false;
    const { State } = JSON.parse(seen.body) as ContainerInspect;
    if (!State.Running || State.Paused) return false;
  }
  return true;
}
