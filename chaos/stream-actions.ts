/** What clients do inside containers: commands, input and output, files, limits, and waiting for the end. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ContainerInspect } from "#api-types/container.ts";
import { type Action, BASE_IMAGE, change, denied, remove, type Scene, tooMany } from "./actions.ts";
import { checkLines } from "./check-log.ts";
import type { ChaosContainer } from "./ledger.ts";

export const streamActions: readonly (readonly [string, number, Action])[] = [
  ["exec", 5, exec],
  ["docker exec", 2, dockerExec],
  ["run with input", 2, runWithInput],
  ["attach", 2, attach],
  ["follow a log", 2, followLog],
  ["wait", 4, wait],
  ["copy in", 2, copyIn],
  ["copy out", 2, copyOut],
  ["update", 2, update],
];

/** Of containers that go on by themselves. */
async function running(scene: Scene, work: (container: ChaosContainer) => Promise<void>): Promise<void> {
  await change(scene, ["running"], work, ["counting"]);
}

async function exec(scene: Scene): Promise<void> {
  await running(scene, async (container) => {
    const code = scene.dice.between(0, 99);
    const made = await scene.clients.ask("POST", `/containers/${container.id}/exec`, {
      AttachStdout: true,
      Cmd: ["sh", "-c", `echo said inside; exit ${code}`],
    });
    denied(scene, container, "exec in", made);
    if (made.status !== 201) return;
    const { Id } = JSON.parse(made.body) as { Id: string };
    const { status, body } = await scene.clients.ask("POST", `/exec/${Id}/start`, { Detach: false });
    if (status !== 200 || body === "") return;
    if (body.includes("said inside")) {
      const seen = await scene.clients.ask("GET", `/exec/${Id}/json`);
      const told = seen.status === 200 ? (JSON.parse(seen.body) as { ExitCode: number }).ExitCode : code;
      if (told !== code && (await goesOn(scene, container)))
        scene.violation(`exec in ${container.name} should end with ${code} and ended with ${told}`);
    } else if (!scene.failing() && (await goesOn(scene, container))) {
      scene.violation(`exec in ${container.name}, which runs, answered ${JSON.stringify(body)}`);
    }
  });
}

/** It may have come to its end in between; then it is told so soon. */
async function goesOn({ clients }: Scene, container: ChaosContainer): Promise<boolean> {
  await sleep(2000);
  const seen = await clients.ask("GET", `/containers/${container.id}/json`);
  return seen.status === 200 && (JSON.parse(seen.body) as ContainerInspect).State.Running;
}

async function dockerExec(scene: Scene): Promise<void> {
  await running(scene, async (container) => {
    const code = scene.dice.between(0, 99);
    const said = `said ${code}`;
    const ran = await scene.clients.dockerWith(
      said,
      ...["exec", "-i", container.name, "sh", "-c", `cat; exit ${code}`],
    );
    // The client's own failures have the codes 1 and 125 to 127, and something to say about it.
    if (ran.stderr !== "" || ran.code === null || ran.code >= 125 || scene.failing()) return;
    if ((ran.code !== code || ran.stdout !== said) && (await goesOn(scene, container)))
      scene.violation(
        `docker exec in ${container.name} should end with ${code}: ${ran.code}, ${JSON.stringify(ran.stdout)}`,
      );
  });
}

/** What it reads comes back, and its code. It goes by itself. */
async function runWithInput(scene: Scene): Promise<void> {
  if (tooMany(scene)) return remove(scene);
  const { dice, ledger } = scene;
  const container = ledger.plan({ kind: "step", lines: 0, code: dice.between(0, 99), autoRemove: true });
  const text = `${container.name}\n`.repeat(dice.between(1, 20_000));
  const command = ["sh", "-c", `cat; exit ${container.code}`];
  const { code, stdout, stderr } = await scene.clients.dockerWith(
    text,
    ...["run", "--rm", "-i", "--name", container.name, BASE_IMAGE, ...command],
  );
  const whole = stderr === "" && code !== null && code < 125;
  if (whole && (code !== container.code || stdout !== text)) {
    scene.violation(
      `${container.name} should give back ${text.length} bytes and ${container.code}: ${stdout.length} and ${code}`,
    );
  }
  container.life = "told to end";
  container.doubt = true;
  container.busy = false;
}

async function attach(scene: Scene): Promise<void> {
  await running(scene, async (container) => {
    const path = `/containers/${container.id}/attach?stream=1&stdout=1`;
    const { status, body } = await scene.clients.glance("POST", path, scene.dice.between(100, 600));
    if (status !== 200 || container.begunTwice) return;
    for (const wrong of checkLines(body, container))
      scene.violation(`attached to ${container.name}: ${wrong}`);
  });
}

/** To its end, beside everything else. Only one that comes to an end by itself; what is not whole proves nothing. */
async function followLog({ clients, dice, failing, ledger, violation }: Scene): Promise<void> {
  const container = dice.pick(ledger.free("running").filter(({ lines }) => lines < 1000));
  if (container === undefined || container.begunTwice) return;
  void clients
    .listen("GET", `/containers/${container.id}/logs?follow=1&stdout=1`)
    .then(({ status, body }) => {
      // What fails counts in a file: without room for it, it counts wrongly.
      const miscounts = container.kind === "crashing" && (container.hindered || failing());
      if (status !== 200 || container.begunTwice || miscounts) return;
      for (const wrong of checkLines(body, container))
        violation(`the followed log of ${container.name}: ${wrong}`);
    });
}

/** Beside everything else; what it tells is compared when the container is looked at. */
async function wait({ clients, dice, ledger }: Scene): Promise<void> {
  const container = dice.pick(ledger.free("running").filter(({ lines }) => lines < 1000));
  if (container === undefined) return;
  void clients.listen("POST", `/containers/${container.id}/wait`).then(({ status, body }) => {
    if (status === 200) container.told.push((JSON.parse(body) as { StatusCode: number }).StatusCode);
  });
}

async function copyIn(scene: Scene): Promise<void> {
  await change(scene, ["running", "ended"], async (container) => {
    const place = mkdtempSync(join(tmpdir(), "berth-chaos-copy-"));
    try {
      const path = `/copied-${container.files.size}`;
      const text = `${container.id} ${scene.dice.between(0, 1e9)}`;
      writeFileSync(join(place, "file"), text);
      const copied = await scene.clients.docker("cp", "-q", join(place, "file"), `${container.name}:${path}`);
      if (copied.status === 200) container.files.set(path, text);
    } finally {
      rmSync(place, { recursive: true });
    }
  });
}

async function copyOut(scene: Scene): Promise<void> {
  await change(scene, [], async (container) => {
    const [path, text] = scene.dice.pick([...container.files]) ?? [];
    if (path === undefined || text === undefined) return;
    const { status, body } = await scene.clients.ask(
      "GET",
      `/containers/${container.id}/archive?path=${path}`,
    );
    if (status === 404 || (status === 200 && !body.includes(text)))
      scene.violation(`${path} of ${container.name} is not what was copied there: ${status}`);
  });
}

async function update(scene: Scene): Promise<void> {
  await running(scene, async (container) => {
    const limits = { pids: scene.dice.between(50, 500), memory: scene.dice.between(32, 256) << 20 };
    container.limits = undefined;
    const { status } = await scene.clients.ask("POST", `/containers/${container.id}/update`, {
      PidsLimit: limits.pids,
      Memory: limits.memory,
      MemorySwap: -1,
    });
    if (status === 200) container.limits = limits;
  });
}
