#!/usr/bin/env bash
# Records docs/session/*.txt: what a terminal of 80 x 24 shows in a fresh user's first half hour. Needs tmux, and sweep on the path.
#
#   docs/record_session.sh          about 5 minutes on 2 CPU cores
set -euo pipefail
cd "$(dirname "$0")/.."
captures=$PWD/docs/session
work=$(mktemp -d)
cp -r search_spaces "$work/"
mkdir -p "$captures"
terminal() { tmux -L "sweeper-session-$$" "$@"; }
trap 'terminal kill-server 2>/dev/null || true; rm -rf "$work"' EXIT

terminal -f /dev/null new-session -d -s record -x 80 -y 24 -c "$work" "env PS1='$ ' LANG=C.UTF-8 LC_ALL=C.UTF-8 bash --norc --noprofile"
terminal set -g status off

screen() { terminal capture-pane -p -t record; }
# Waits until the screen holds the pattern $1, at most $2 seconds
wait_for() {
  for ((tenths = 0; tenths < $2 * 10; tenths += 5)); do
    if screen | grep -qE "$1"; then return; fi
    sleep 0.5
  done
  echo "waited $2 s for '$1'; the screen:" >&2
  screen >&2
  return 1
}
# Waits until the prompt stands on the last line that holds anything
wait_for_prompt() {
  for ((tenths = 0; tenths < $1 * 10; tenths += 5)); do
    if [ "$(screen | sed '/^$/d' | tail -n 1)" = '$' ]; then return; fi
    sleep 0.5
  done
  echo "no prompt after $1 s; the screen:" >&2
  screen >&2
  return 1
}
press() { terminal send-keys -t record -l "$1" && terminal send-keys -t record Enter; }
# Types $1 on an empty screen
enter() {
  terminal send-keys -t record C-l
  sleep 0.5
  terminal clear-history -t record
  press "$1"
  sleep 1
}
keep() { terminal capture-pane -p -S - -t record | sed 's/[[:space:]]*$//' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' >"$captures/$1.txt"; }
# Types $2, waits for its end, and keeps the screen as $1.txt
record() {
  enter "$2"
  wait_for_prompt "${3:-120}"
  keep "$1"
}

sleep 1
record 01-help 'sweep --help'
record 02-check 'sweep check search_spaces/quickstart.yaml'
press "sed -e 's/gamma:/gama:/' -e 's/epochs: 4/epochs: 0/' search_spaces/quickstart.yaml > mine.yaml"
record 03-mistakes 'sweep check mine.yaml'
record 04-plan 'sweep run search_spaces/quickstart.yaml --dry-run' 300

enter 'sweep run search_spaces/quickstart.yaml'
wait_for ' (3[0-9]|4[0-9]) of 120 trials' 600
keep 05-running
wait_for_prompt 1200
keep 06-finished

record 07-report 'sweep report | head -22'
record 08-list 'sweep list && sweep status'
record 09-show 'sweep show quickstart'
record 10-trial 'sweep show quickstart focal-0 | head -22'
record 11-reproduce 'sweep reproduce quickstart focal-0' 300

enter 'sweep run search_spaces/quickstart.yaml --name again --searches 1 --trials-per-arm 4 --seeds 2'
wait_for ' [3-9] of 18 trials' 300
terminal send-keys -t record C-c
wait_for_prompt 120
keep 12-interrupted
record 13-resumed 'sweep resume again | tail -20' 600
