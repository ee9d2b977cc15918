#!/bin/sh
# Replays each corpus through its fuzz target: one TAP line a target.
# FUZZ_TARGETS: the programs; srcdir: the top of the source tree.
set -u
n=0
bad=0
echo "1..$(echo $FUZZ_TARGETS | wc -w)"
for prog in $FUZZ_TARGETS; do
	n=$((n + 1))
	name=${prog##*/fuzz_}
	if out=$("./$prog" "$srcdir/t/corpus/$name" 2>&1); then
		echo "ok $n - $name: $(echo "$out" | sed -n 's/^ok 1 - //p' | sed 's| of .*||')"
	else
		bad=1
		echo "$out" | tail -n 40 | sed 's/^/# /'
		echo "not ok $n - $name"
	fi
done
exit $bad
