/**
 * A directory of one test, gone at its end; and an image service in it.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { ProgressMessage } from "#api-types/image.ts";
import { Database } from "#state/database.ts";
import { createImageService, imageMigrations } from "../image-service.ts";
import type { ImageOptions, ImageService } from "../image-types.ts";
import { FakeStorage, FakeUnpacker } from "./fake-storage.ts";

export function temporaryDirectory(t: TestContext): string {
  const path = makeDirectory();
  t.after(() => removeDirectory(path));
  return path;
}

function makeDirectory(): string {
  return mkdtempSync(join(tmpdir(), "berth-images-"));
}

/** The database's backup is made by a thread that nobody waits for: its file may come while the directory goes. */
function removeDirectory(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 20 });
}

export interface Fixture {
  root: string;
  service: ImageService;
  storage: FakeStorage;
  unpacker: FakeUnpacker;
  database: Database;
  events: string[];
  /** Starts another service on the same state, as a new daemon would. */
  restart(): Promise<ImageService>;
}

/** A started service with fake storage; retries without pauses. */
export async function imageFixture(t: TestContext, options: Partial<ImageOptions> = {}): Promise<Fixture> {
  const root = makeDirectory();
  const storage = new FakeStorage(join(root, "layers"));
  const unpacker = new FakeUnpacker();
  const database = Database.open(join(root, "state.db"), [imageMigrations]);
  const events: string[] = [];
  const services: ImageService[] = [];
  // Hooks run in the order they are given in; the directory has to go last.
  t.after(async () => {
    await Promise.all(services.map((service) => service.stop()));
    database[Symbol.dispose]();
    removeDirectory(root);
  });
  const begin = async () => {
    const service = createImageService({
      database,
      storage,
      unpacker,
      options: {
        dataRoot: root,
        insecureRegistries: [],
        registryMirrors: [],
        maxConcurrentDownloads: 3,
        maxDownloadAttempts: 3,
        maxConcurrentUploads: 5,
        certificateDirectories: [],
        ...options,
      },
      onEvent: (action, id) => events.push(`${action} ${id}`),
      retryDelay: () => 1,
      layerBytes: (cacheId) => ({ kind: "file", path: storage.archivePath(cacheId) }),
    });
    services.push(service);
    await service.start();
    return service;
  };
  const service = await begin();
  return { root, service, storage, unpacker, database, events, restart: begin };
}

/** Collects progress. */
export function collector(): { report: (message: ProgressMessage) => void; messages: ProgressMessage[] } {
  const messages: ProgressMessage[] = [];
  return { messages, report: (message) => messages.push(message) };
}

/** Nothing of a failed pull is left: no layer, no blob, no row. */
export function assertNothingLeft({ root, storage, service, database }: Fixture): void {
  assert.deepEqual(storage.list(), []);
  assert.deepEqual(readdirSync(join(root, "image", "partial")), []);
  assert.deepEqual(readdirSync(join(root, "image", "blobs", "sha256")), []);
  assert.equal(service.count(), 0);
  assert.deepEqual(database.all("SELECT * FROM image_layer"), []);
}
