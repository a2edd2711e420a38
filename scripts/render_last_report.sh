#!/bin/sh
# Render the report of a run: scripts/render_last_report.sh [RUN_ID] [option …]; without a RUN_ID, of the last run.
# Works from any directory; options go to `evidence render`. Uses the project's .venv when there is one.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
evidence="$root/.venv/bin/evidence"
[ -x "$evidence" ] || evidence=evidence
if ! command -v "$evidence" >/dev/null 2>&1; then
  echo "evidence is not installed: run 'make demo' in $root, or pip install 'evidence-chain[report]'." >&2
  exit 1
fi
EVIDENCE_ROOT=${EVIDENCE_ROOT:-$root}
export EVIDENCE_ROOT
case ${1:-} in
  "" | -*) exec "$evidence" render --last "$@" ;;
  *) exec "$evidence" render "$@" ;;
esac
