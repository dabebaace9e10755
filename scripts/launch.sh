# Sourced by the commands in bin/ with $root set to the checkout. Starts one bundle of dist/ with the Node that the
# set-up chose. The check for changes has to stay cheap, every command pays for it: one `find` that stops at the
# first file newer than the last set-up. BERTH_NO_SETUP=1 leaves it out, and so does who may not write to the checkout.

fresh() {
  [ -e "$root/.setup/fresh" ] && [ -s "$root/.setup/node" ] || return 1
  changed=$(find "$root/package-lock.json" "$root/launcher" "$root/packages" "$root/apps" "$root/scripts" \
    ! -name '*.test.ts' ! -name test -newer "$root/.setup/fresh" -print -quit 2>/dev/null)
  [ -z "$changed" ]
}

# launch BUNDLE ARGUMENT...: becomes node running that bundle.
launch() {
  bundle=$1
  shift
  if [ -z "${BERTH_NO_SETUP-}" ] && { [ -w "$root/.setup" ] || [ ! -e "$root/.setup" ]; }; then
    fresh || sh "$root/scripts/setup.sh" </dev/null >&2 || exit 125
  fi
  if ! read -r node <"$root/.setup/node" || [ ! -x "$node" ]; then
    sh "$root/scripts/setup.sh" </dev/null >&2 || exit 125
    read -r node <"$root/.setup/node" || exit 125
  fi
  case $bundle in
    # The daemon stays for weeks and is mostly idle: small young generation, memory before throughput. Room for two
    # starts in it, and still for one after a long pause: apps/berthd/collect-in-quiet.ts chooses the moment when it is
    # collected.
    # Two arenas: what its worker threads free is used again by the others, 50 MiB less at the height of a pull.
    # gc(): threads that stream collect what they leave before it is much (packages/kernel/buffer-garbage.ts).
    berthd.cjs)
      export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}"
      exec "$node" --disable-warning=ExperimentalWarning --min-semi-space-size=2 --max-semi-space-size=4 --expose-gc "$root/dist/$bundle" "$@"
      ;;
    *) exec "$node" --disable-warning=ExperimentalWarning "$root/dist/$bundle" "$@" ;;
  esac
}
