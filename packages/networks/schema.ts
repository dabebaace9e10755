/**
 * The tables of networks, endpoints and address leases.
 *
 * A row is written before the thing it stands for is made and removed after it is gone, so that whatever a crash left
 * behind can be found from here. Addresses are stored as hexadecimal text of fixed width: it sorts as the number does.
 */
import type { Migrations } from "#state/database.ts";

export const networkMigrations: Migrations = {
  area: "networks",
  steps: [
    `
    CREATE TABLE network (
      id TEXT PRIMARY KEY,
      name TEXT NOT NULL UNIQUE,
      driver TEXT NOT NULL,
      created TEXT NOT NULL,
      -- JSON: subnet, gateway, range, bridge; what the driver needs to make the network again
      config TEXT NOT NULL
    ) STRICT;

    -- One row per address ever given out. holder is the container id; NULL means free since "released".
    CREATE TABLE network_address (
      network_id TEXT NOT NULL REFERENCES network (id),
      address TEXT NOT NULL,
      holder TEXT,
      released INTEGER NOT NULL DEFAULT 0,
      PRIMARY KEY (network_id, address)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX network_address_free ON network_address (network_id, released) WHERE holder IS NULL;
    CREATE INDEX network_address_holder ON network_address (holder) WHERE holder IS NOT NULL;

    -- What a container holds: JSON of a HeldSandbox (sandbox.ts).
    CREATE TABLE network_sandbox (
      container_id TEXT PRIMARY KEY,
      held TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    `,
    `
    -- What may be in the kernel's firewall: chains of a bridge, or a table of nftables.
    CREATE TABLE network_firewall (
      backend TEXT NOT NULL,
      name TEXT NOT NULL,
      PRIMARY KEY (backend, name)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO network_firewall
      SELECT 'iptables', json_extract(config, '$.bridge') FROM network WHERE json_extract(config, '$.bridge') <> '';
    `,
    `
    -- What plugins have made for endpoints and not taken back yet.
    CREATE TABLE network_plugin_holding (
      network_id TEXT NOT NULL,
      endpoint_id TEXT NOT NULL,
      kind TEXT NOT NULL,
      value TEXT NOT NULL,
      PRIMARY KEY (network_id, endpoint_id, kind, value)
    ) STRICT, WITHOUT ROWID;
    `,
    `
    -- The first step had no such index to begin with.
    CREATE INDEX IF NOT EXISTS network_address_holder ON network_address (holder) WHERE holder IS NOT NULL;
    `,
  ],
};
