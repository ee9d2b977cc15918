#!/bin/sh
# The recorded decisions of sendmail, through the code of the server.
set -u
echo 1..2
bad=0
out=$(./t/access_vectors "$srcdir/t/vectors/access-vectors.jsonl") || bad=1
echo "$out" | sed 's/^/# /'
# All without a quirk agree, and all with one that matters are refused.
[ "$(echo "$out" | tail -n 1)" = "agree 1375 of 1375, quirk 114 refused" ] ||
	bad=1
[ $bad = 0 ] && echo "ok 1 - access map decisions" || echo "not ok 1 - access map decisions"
bad2=0
out=$(./t/cert_names "$srcdir/t/vectors/cert-names.jsonl") || bad2=1
echo "$out" | sed 's/^/# /'
[ $bad2 = 0 ] && echo "ok 2 - names from certificates" || echo "not ok 2 - names from certificates"
[ $bad$bad2 = 00 ]
