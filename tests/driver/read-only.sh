#!/bin/sh
# A folder that cannot be written: one message, exit code 1, an old output
# unchanged. Root may write anywhere, so for root it is a file system mounted
# read-only (ends with 77, "skipped", when that is not allowed).
#
# usage: read-only.sh VITQC MODEL.vq
set -u
vitqc=$1 model=$2
folder=$(mktemp -d) || exit 1
trap 'umount "$folder" 2>/dev/null; chmod u+w "$folder"; rm -rf "$folder"' EXIT
if [ "$(id -u)" -eq 0 ]; then
  if ! mount -t tmpfs -o size=64k tmpfs "$folder" 2>/dev/null; then
    echo "skipped: root without the right to mount"
    exit 77
  fi
fi
echo old >"$folder/old"
if [ "$(id -u)" -eq 0 ]; then
  mount -o remount,ro "$folder" || exit 1
else
  chmod a-w "$folder"
fi
failed=0
for kind in so obj archive asm ir header; do
  for name in new old; do
    said=$("$vitqc" "$model" -O1 --emit=$kind -q -o "$folder/$name" 2>&1)
    code=$?
    [ $code -eq 1 ] || { echo "--emit=$kind: exit code $code"; failed=1; }
    [ "$(echo "$said" | grep -c 'error: ')" -eq 1 ] ||
      { echo "--emit=$kind said: $said"; failed=1; }
  done
done
[ "$(ls -A "$folder")" = old ] || { echo "left: $(ls -A "$folder")"; failed=1; }
[ "$(cat "$folder/old")" = old ] || { echo "the old output changed"; failed=1; }
exit $failed
