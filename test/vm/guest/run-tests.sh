#!/bin/sh
# Runs the test files that /run/files names, then switches the virtual machine off.
export PATH=/bin HOME=/
exec >/dev/console 2>&1
cd /berth || exit 1
# Everything takes ten times as long here: less of what only repeats, and more patience.
export BERTH_SLOWNESS=5 BERTH_RANDOM_OPERATIONS=2000 BERTH_DRIVER_CRASHES=3
# shellcheck disable=SC1091
. /environment
# shellcheck disable=SC2046
BERTH_NO_SETUP=1 BERTH_TEST_LAUNCHER=/berth/build/launcher \
  node --disable-warning=ExperimentalWarning --liftoff-only test/vm/guest/run-tests.ts $(cat /run/files)
echo "@@ended $?"
poweroff -f
