#!/usr/bin/env bash
# Compares what an API server said with what was recorded.
#
# usage: compare.sh GOLDEN OUT
#
# One line for each case, a diff for each that differs, and a count last. The exit code is 0 if none does.
set -u
golden=$1 out=$2 same=0 different=0
for recorded in "$golden"/*.out; do
  name=$(basename "$recorded" .out)
  if [ ! -f "$out/$name.out" ]; then
    echo "different $name (no output)"
  elif cmp -s "$recorded" "$out/$name.out"; then
    echo "same      $name"
    same=$((same + 1))
    continue
  else
    echo "different $name"
    diff -U2 --label "golden/$name" --label "out/$name" "$recorded" "$out/$name.out" | sed 's/^/    /'
  fi
  different=$((different + 1))
done
echo "$same same, $different different of $((same + different))"
[ $different = 0 ]
