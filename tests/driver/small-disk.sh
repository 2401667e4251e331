#!/bin/sh
# A disk that fills up: one message, exit code 1, no file left behind. Needs the
# right to mount a tmpfs (ends with 77, "skipped", otherwise).
#
# usage: small-disk.sh VITQC MODEL.vq
set -u
vitqc=$1 model=$2
folder=$(mktemp -d) || exit 1
trap 'umount "$folder" 2>/dev/null; rmdir "$folder"' EXIT
mount -t tmpfs -o size=8k tmpfs "$folder" 2>/dev/null || exit 77
failed=0
for kind in so obj asm ir header; do
  dd if=/dev/zero of="$folder/filler" bs=4k count=2 2>/dev/null
  said=$("$vitqc" "$model" -O1 --emit=$kind -q -o "$folder/out" 2>&1)
  code=$?
  left=$(ls "$folder")
  [ $code -eq 1 ] || { echo "--emit=$kind: exit code $code"; failed=1; }
  [ "$left" = filler ] || { echo "--emit=$kind left: $left"; failed=1; }
  [ "$(echo "$said" | grep -c 'error:')" -eq 1 ] ||
    { echo "--emit=$kind said: $said"; failed=1; }
done
exit $failed
