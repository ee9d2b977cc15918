#!/bin/sh
# The recorded decisions of sendmail, through the code of the server.
set -u
echo 1..4
bad=0
n=0

# told NAME PASSED: one TAP line.
told() {
	n=$((n + 1))
	if [ "$2" = 1 ]; then
		echo "ok $n - $1"
	else
		bad=1
		echo "not ok $n - $1"
	fi
}

# same PROGRAM FILE LAST: whether it succeeds and ends with this line.
same() {
	good=1
	out=$("./t/$1" "$srcdir/t/vectors/$2") || good=0
	echo "$out" | sed 's/^/# /'
	[ -z "$3" ] || [ "$(echo "$out" | tail -n 1)" = "$3" ] || good=0
}

# All without a quirk agree, and all with one that matters are refused.
same access_vectors access-vectors.jsonl "agree 1375 of 1375, quirk 114 refused"
told "access map decisions" $good
# Recorded later: delay_checks with an argument, quotes, final dots.
same access_vectors asked-vectors.jsonl "agree 118 of 118, quirk 0 refused"
told "more decisions" $good
same cert_names cert-names.jsonl ""
told "names from certificates" $good

# What the program does not know it says.
echo '{"id":"v","map":[],"features":["nonsense"],"phase":"relay",
"rcpt":"<u@d>","result":{"decision":"relay"}}' | tr -d '\n' >vectors.tmp
good=1
out=$(./t/access_vectors vectors.tmp) && good=0
rm -f vectors.tmp
echo "$out" | sed 's/^/# /'
case $out in
*'v: expected {"decision": "relay"}, got "unknown phase or feature"'*) ;;
*) good=0 ;;
esac
told "an unknown feature" $good
exit $bad
