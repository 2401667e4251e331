#!/bin/sh
# Runs a command that must be refused, once with and once without an output file
# from before: the exit code, exactly one message of an error, which REGEX (an
# extended one) matches, nothing new beside the output, an old output unchanged.
#
# usage: fails.sh CODE REGEX OUTPUT COMMAND...
set -u
code=$1 regex=$2 output=$3
shift 3
folder=$(dirname "$output") failed=0

complain() {
  echo "$*"
  failed=1
}

for old in absent present; do
  rm -f "$output"
  [ $old = absent ] || echo "from before" >"$output"
  before=$(ls -A "$folder")
  said=$("$@" 2>&1 >/dev/null)
  got=$?
  [ $got -eq "$code" ] || complain "exit code $got, expected $code"
  [ "$(echo "$said" | grep -c 'error: ')" -eq 1 ] ||
    complain "expected one message of an error"
  echo "$said" | grep -Eq "error: .*$regex" || complain "expected: $regex"
  [ "$(ls -A "$folder")" = "$before" ] || complain "left: $(ls -A "$folder")"
  [ $old = absent ] || [ "$(cat "$output")" = "from before" ] ||
    complain "the output from before has changed"
done
rm -f "$output"
[ $failed -eq 0 ] || echo "of: $*
which said: $said"
exit $failed
