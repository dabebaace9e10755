/**
 * The attacker of the race tests, as a process of its own: exchanges two names as fast as it can until it is killed.
 *
 *   node exchange-names.ts DIRECTORY NAME OTHER
 */

import { renameat2 } from "#kernel/file-syscalls.ts";
import { open } from "#kernel/syscalls.ts";

const RENAME_EXCHANGE = 2;
const [, , directory = ".", name = "", other = ""] = process.argv;
const fd = open(directory, 0);
for (;;) renameat2(fd, name, fd, other, RENAME_EXCHANGE);
