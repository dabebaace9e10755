/** A directory with a compose file, and Debian 13's `docker compose` run in it against a test's daemon. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installCompose } from "#test/fixtures/compose.ts";
import type { Ran, TestDaemon } from "#test/fixtures/daemon.ts";

/** How long one command may take, ms; only a hang gets there. */
const PATIENCE_MS = 120_000;

/** A line of `compose ps --format json`. */
export interface ServiceRow {
  Service: string;
  Name: string;
  State: string;
  Health: string;
  ExitCode: number;
}

export class ComposeProject {
  readonly daemon: TestDaemon;
  readonly directory: string;
  readonly name: string;

  /** The beginning of addresses that no other test has, "10.1.2.". */
  readonly prefix: string;

  constructor(daemon: TestDaemon, name: string) {
    this.daemon = daemon;
    this.name = `${name}${process.pid}`;
    this.prefix = `10.214.${daemon.gateway.split(".")[2]}.`;
    this.directory = join(daemon.directory, "project");
    mkdirSync(this.directory);
    installCompose(join(daemon.directory, "docker-config"));
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.directory, file), text);
  }

  /** Runs it in the project's directory, to its end. */
  run(...args: string[]): Promise<Ran> {
    return new Promise((done) => {
      const child = spawn("docker", ["compose", ...args], {
        cwd: this.directory,
        env: this.daemon.environment,
        stdio: ["ignore", "pipe", "pipe"],
      });
      const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
      let stdout = "";
      let stderr = "";
      child.stdout.on("data", (chunk) => (stdout += chunk));
      child.stderr.on("data", (chunk) => (stderr += chunk));
      child.on("close", (code) => {
        clearTimeout(timer);
        // Compose begins each line of a log by erasing the line, whoever reads it.
        done({ stdout: stdout.replaceAll("\x1b[2K", ""), stderr, code });
      });
    });
  }

  /** The same, which has to succeed; answers what it printed. */
  async ok(...args: string[]): Promise<string> {
    const ran = await this.run(...args);
    const told = `docker compose ${args.join(" ")} ended with ${ran.code}\n${ran.stdout}${ran.stderr}`;
    assert.ok(ran.code === 0, told);
    return ran.stdout;
  }

  async ps(...flags: string[]): Promise<ServiceRow[]> {
    const lines = (await this.ok("ps", "--format", "json", ...flags)).split("\n").filter(Boolean);
    return lines.map((line) => JSON.parse(line) as ServiceRow);
  }

  /** What inspect says of a service's container. */
  // biome-ignore lint/suspicious/noExplicitAny: an answer to look into
  inspect(service: string, number = 1): any {
    return this.inspectByName(`${this.name}-${service}-${number}`);
  }

  // biome-ignore lint/suspicious/noExplicitAny: an answer to look into
  inspectByName(name: string): any {
    return JSON.parse(this.daemon.docker("inspect", name).stdout)[0];
  }

  /** What a shell line prints inside a service's container. */
  async shell(service: string, line: string): Promise<string> {
    return (await this.ok("exec", "-T", service, "sh", "-c", line)).trim();
  }
}
