#!/bin/sh
# Take the picture of the README from the last run's report: scripts/take_report_picture.sh [PNG]. Needs Chromium.
set -eu
case ${1:-} in -*) sed -n 's/^# //p' "$0"; exit ;; esac
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
target=${1:-$root/docs/images/report.png}
python=$root/.venv/bin/python
report=$("$root/.venv/bin/evidence" show last --json | "$python" -c 'import json, sys; print(json.load(sys.stdin)["report"] or "")')
[ -n "$report" ] || { echo "The last run has no report: evidence render --last makes it." >&2; exit 1; }
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update \
  --disable-sync --hide-scrollbars --virtual-time-budget=4000 --user-data-dir="$profile" --window-size=1280,900 \
  --screenshot="$target" "file://$report" 2>/dev/null
