/** All cases that are measured on whole engines, in the order of the table. */
import type { Group } from "./case-types.ts";
import { COMMAND_LINE_CASES } from "./cases/command-line.ts";
import { INSIDE_CASES, sleeper } from "./cases/inside.ts";
import { LIFE_CASES } from "./cases/life.ts";
import { HUNDRED, HUNDRED_CASES, IDLE_CASES, manyCreated, THOUSAND, THOUSAND_CASES } from "./cases/listed.ts";
import { LOG_CASES } from "./cases/logs.ts";
import { NAME_CASES } from "./cases/names.ts";
import { PARALLEL_CASES } from "./cases/parallel.ts";
import { PORT_CASES } from "./cases/ports.ts";
import { hundredRunning, RUNNING_CASES } from "./cases/running.ts";
import { TRAFFIC_CASES } from "./cases/traffic.ts";

/** Groups in one list have engines in common. */
export const GROUPS: readonly (readonly Group[])[] = [
  [
    { part: "daemons", title: "an idle daemon", cases: IDLE_CASES },
    { part: "containers", title: "command lines", cases: COMMAND_LINE_CASES },
    { part: "containers", title: "a container's life", cases: LIFE_CASES },
    { part: "inside", title: "in a running container", prepare: sleeper, cases: INSIDE_CASES },
    { part: "logs", title: "output", cases: LOG_CASES },
    { part: "parallel", title: "many at once", cases: PARALLEL_CASES },
    { part: "running", title: "a hundred running", prepare: hundredRunning, cases: RUNNING_CASES },
  ],
  [{ part: "daemons", title: "a hundred containers", prepare: manyCreated(HUNDRED), cases: HUNDRED_CASES }],
  [
    {
      part: "daemons",
      title: "a thousand containers",
      prepare: manyCreated(THOUSAND),
      cases: THOUSAND_CASES,
    },
  ],
  [
    { part: "networks", title: "names", alone: true, cases: NAME_CASES },
    { part: "networks", title: "published ports", alone: true, cases: [...PORT_CASES, ...TRAFFIC_CASES] },
  ],
];
