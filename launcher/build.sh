#!/bin/sh
# Builds the launcher into a directory, by default build/ of the repository: `launcher/build.sh [outdir]`.
# CC and CFLAGS are honoured; for another architecture, CC=aarch64-linux-gnu-gcc.
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
out=${1:-$here/../build}
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
cd "$here"
# No C library, no start files, no position independence, so no relocation at start; one segment of code and constants
# keeps the pages few. The compiler must not turn the loops of mem.c into calls of themselves.
case $(${CC:-gcc} -dumpmachine) in x86_64*) CFLAGS="-fcf-protection=none ${CFLAGS:-}" ;; esac
# shellcheck disable=SC2086
${CC:-gcc} -std=gnu17 -O2 -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
  -ffreestanding -fno-builtin -fno-stack-protector -fno-tree-loop-distribute-patterns -fno-asynchronous-unwind-tables \
  -fno-pic -fno-pie -ffunction-sections -nostdlib -static -no-pie -Wl,--gc-sections -Wl,--build-id=none \
  -Wl,-z,noseparate-code -Wl,-z,noexecstack -Wl,-s ${CFLAGS:-} \
  main.c mem.c load.c execute.c frames.c relay.c stream.c relay_end.c attach.c connection.c log.c log_json.c log_local.c log_rotate.c init.c shim.c rendezvous.c zygote.c proxy.c proxy_tcp.c proxy_udp.c \
  -o "$out/launcher.new"
# Running shims keep the old file; the new one comes at once or not at all.
mv -f "$out/launcher.new" "$out/launcher"
