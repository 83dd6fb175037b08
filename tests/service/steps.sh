# shellcheck shell=bash
# What the scripts of this folder share: steps that name themselves when they fail.
set -euo pipefail

# The step that is under way.
step=begin
trap 'echo "failed in step \"$step\", line $LINENO: $BASH_COMMAND" >&2' ERR
set -o errtrace

# Begins a step.
step() {
  step=$*
  echo "== $*"
}

# Ends with a reason.
fail() {
  echo "failed in step \"$step\": $*" >&2
  exit 1
}

# Two texts that must be the same: what, is, ought.
same() { [ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"; }

# Succeeds when the command fails.
refused() { ! "$@" >/dev/null 2>&1 || fail "was not refused: $*"; }

# Tries a command until it succeeds.
eventually() {
  local attempt
  for attempt in $(seq 150); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    [ "$attempt" -eq 150 ] || sleep 0.2
  done
  "$@" || fail "never succeeded: $*"
}
