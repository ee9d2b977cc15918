# postfix.sh: a real Postfix for demonstrations and measurements, started from
# its unpacked Debian package.  To be sourced by sh or bash after unpack.sh, run
# as root.
#
# Nothing is installed, and nothing of the machine's own mail system is read or
# written: no /etc/postfix, no /var/spool/postfix, no syslog, no /etc/passwd.
# Every file lives in the folders the caller names.  The Postfix daemons give
# root up for the three users named below, which belong to every Debian
# system, own nothing that matters and run nothing else.
#
#   postfix_unpack ROOT [CACHE [PACKAGE ...]]
#	Unpacks Postfix (and PACKAGEs) below ROOT, with the libraries that the
#	machine lacks.  Package files are kept in CACHE (default ROOT/debs) and
#	fetched with apt-get only when they are not there.  Sets POSTFIX_ROOT.
#   postfix_setup DIR smarthost ADDRESS:PORT CERT KEY [NAME=VALUE ...]
#	A smarthost: STARTTLS with the given certificate, takes mail for any
#	domain from 127.0.0.1 and puts every message into the Maildir DIR/inbox.
#   postfix_setup DIR submission ADDRESS:PORT CERT KEY [NAME=VALUE ...]
#	A submission server: STARTTLS required, then AUTH PLAIN or LOGIN, relays
#	for whoever logged in.  The caller names the way out: relayhost=...
#	NAME=VALUE are further lines for main.cf; the last one wins.  A second
#	call writes the configuration anew and keeps queue and inbox.
#   postfix_adduser DIR USER <PASSWORDFILE
#	Gives USER of a submission server a password (one line on stdin).
#	Needs the program saslpasswd2, from PACKAGE sasl2-bin if need be.
#   postfix_start DIR	returns 0 once the port is open
#   postfix_stop DIR	returns 0 once all processes are gone
#   postfix_pids DIR	prints the process ids of this instance
#
# All print the reason on stderr and return 1 on failure.  DIR must be below
# folders that every user may search (mode 0711 is enough), for example a new
# folder in /tmp; KEY may be readable by root alone.  DIR/maillog is the log.

# Three different users, with three different groups: Postfix insists on it.
POSTFIX_OWNER="uucp"
POSTFIX_DROP_GROUP=news
POSTFIX_DEFAULT_USER=nobody

_postfix_fail() {
	echo "postfix.sh: $*" >&2
	return 1
}

# Runs a command that finds the unpacked libraries and SASL plugins.
_postfix_env() {
	local lib libs sasl=""

	libs=$(unpack_libraries "$POSTFIX_ROOT")
	for lib in "$POSTFIX_ROOT"/usr/lib/*/sasl2 /usr/lib/*/sasl2; do
		sasl="$sasl:$lib"
	done
	LD_LIBRARY_PATH="$libs" SASL_PATH="${sasl#:}" "$@"
}

postfix_unpack() {
	local root="$1" cache="${2:-$1/debs}"

	shift $(($# < 2 ? $# : 2))
	if [ "$(id -u)" -ne 0 ]; then
		_postfix_fail "only root can run Postfix"
		return 1
	fi
	unpack_packages "$root" "$cache" postfix "$@" || return 1
	POSTFIX_ROOT=$(cd "$root" && pwd -P)
}

postfix_setup() {
	local dir="$1" role="$2" listen="$3" cert="$4" key="$5" name

	if [ $# -lt 5 ]; then
		_postfix_fail "usage: postfix_setup DIR ROLE ADDRESS:PORT CERT KEY"
		return 1
	fi
	shift 5
	for name in $POSTFIX_OWNER $POSTFIX_DEFAULT_USER; do
		getent passwd "$name" >/dev/null ||
		    { _postfix_fail "no user $name"; return 1; }
	done
	mkdir -p "$dir/etc/sasl" "$dir/spool" "$dir/inbox" || return 1
	dir=$(cd "$dir" && pwd -P)
	chmod 0755 "$dir" "$dir/etc" "$dir/etc/sasl" "$dir/spool" || return 1
	chown "$POSTFIX_DEFAULT_USER" "$dir/inbox" || return 1
	setpriv --reuid="$POSTFIX_OWNER" --regid="$POSTFIX_OWNER" \
	    --clear-groups test -x "$dir/etc" || {
		_postfix_fail "$dir is behind a folder that others can't search"
		return 1
	}
	cp "$POSTFIX_ROOT/etc/postfix/postfix-files" "$dir/etc/" || return 1
	cp "$POSTFIX_ROOT/usr/share/postfix/dynamicmaps.cf" "$dir/etc/" ||
	    return 1
	_postfix_master_cf "$listen" >"$dir/etc/master.cf" || return 1
	{
		_postfix_common "$dir" "$cert" "$key" &&
		case $role in
		smarthost) _postfix_smarthost "$dir" ;;
		submission) _postfix_submission "$dir" ;;
		*) _postfix_fail "no role $role" ;;
		esac
	} >"$dir/etc/main.cf" || return 1
	# postconf -e replaces a line, so that a value never stands twice.
	[ $# -eq 0 ] ||
	    _postfix_env "$POSTFIX_ROOT/usr/sbin/postconf" -c "$dir/etc" -e "$@"
}

_postfix_common() { # DIR CERT KEY
	cat <<-EOF
	compatibility_level = 3.6
	command_directory = $POSTFIX_ROOT/usr/sbin
	daemon_directory = $POSTFIX_ROOT/usr/lib/postfix/sbin
	shlib_directory = $POSTFIX_ROOT/usr/lib/postfix
	meta_directory = $1/etc
	queue_directory = $1/spool
	data_directory = $1/data
	mail_owner = $POSTFIX_OWNER
	setgid_group = $POSTFIX_DROP_GROUP
	default_privs = $POSTFIX_DEFAULT_USER
	import_environment = MAIL_CONFIG MAIL_LOGTAG TZ LANG=C
	    LD_LIBRARY_PATH SASL_PATH
	maillog_file = $1/maillog
	maillog_file_prefixes = $1
	inet_interfaces = loopback-only
	myhostname = localhost.localdomain
	mydestination =
	local_recipient_maps =
	local_transport = error:there are no local users
	alias_maps =
	alias_database =
	biff = no
	append_dot_mydomain = no
	smtpd_tls_security_level = may
	smtpd_tls_cert_file = $2
	smtpd_tls_key_file = $3
	smtpd_tls_loglevel = 1
	smtpd_tls_received_header = yes
	EOF
}

# Every address belongs to the same Maildir.
_postfix_smarthost() { # DIR
	cat <<-EOF
	mynetworks = 127.0.0.0/8 [::1]/128
	smtpd_relay_restrictions = permit_mynetworks, reject
	virtual_mailbox_domains = static:all
	virtual_mailbox_base = $1
	virtual_mailbox_maps = static:inbox/
	virtual_mailbox_limit = 0
	message_size_limit = 104857600
	virtual_minimum_uid = 1
	virtual_uid_maps = static:$(id -u "$POSTFIX_DEFAULT_USER")
	virtual_gid_maps = static:$(id -g "$POSTFIX_DEFAULT_USER")
	EOF
}

# Debian's Postfix looks for SASL's configuration in sasl/ beside main.cf.
_postfix_submission() { # DIR
	cat >"$1/etc/sasl/smtpd.conf" <<-EOF
	pwcheck_method: auxprop
	auxprop_plugin: sasldb
	sasldb_path: $1/etc/sasl/sasldb2
	mech_list: PLAIN LOGIN
	EOF
	cat <<-EOF
	smtpd_tls_auth_only = yes
	smtpd_sasl_auth_enable = yes
	smtpd_sasl_type = cyrus
	smtpd_sasl_path = smtpd
	smtpd_sasl_local_domain = localhost
	smtpd_relay_restrictions = permit_sasl_authenticated, reject
	smtpd_recipient_restrictions =
	EOF
}

# The services of the package's own file, outside any chroot (the libraries
# are not at their usual place), with the one listener asked for.
_postfix_master_cf() { # ADDRESS:PORT
	awk -v listen="$1" '
	$1 == "smtp" && $2 == "inet" {
		$1 = listen
		$5 = "n"
		print
		next
	}
	/^[a-z]/ && $2 ~ /^(unix|unix-dgram)$/ && $8 != "pipe" {
		$5 = "n"
		print
	}' "$POSTFIX_ROOT/usr/share/postfix/master.cf.dist"
}

postfix_adduser() { # DIR USER
	local db="$1/etc/sasl/sasldb2"

	PATH="$PATH:/usr/sbin:$POSTFIX_ROOT/usr/sbin" \
	    _postfix_env saslpasswd2 -p -c -f "$db" -u localhost "$2" ||
	    { _postfix_fail "saslpasswd2 failed for user $2"; return 1; }
	chown "$POSTFIX_OWNER" "$db" && chmod 0600 "$db"
}

postfix_start() { # DIR
	local dir

	dir=$(cd "$1" && pwd -P) || return 1
	_postfix_env "$POSTFIX_ROOT/usr/sbin/postfix" -c "$dir/etc" start \
	    >>"$dir/start.log" 2>&1 && return 0
	_postfix_fail "Postfix did not start; end of its logs:"
	tail -n 5 "$dir/start.log" "$dir/maillog" >&2
	return 1
}

# The master process of this instance, if it lives.
_postfix_master() { # DIR
	local pid

	pid=$(sed 's/ //g;q' "$1/spool/pid/master.pid" 2>/dev/null)
	case $pid in
	'' | *[!0-9]*) return 1 ;;
	esac
	{ tr '\0' '\n' <"/proc/$pid/environ"; } 2>/dev/null |
	    grep -qxF "MAIL_CONFIG=$(cd "$1" && pwd -P)/etc" && echo "$pid"
}

postfix_pids() { # DIR
	local pid

	pid=$(_postfix_master "$1") && _postfix_group "$pid"
}

# Living processes of a process group; a zombie nobody reaps is not alive.
_postfix_group() { # PGRP
	cat /proc/[0-9]*/stat 2>/dev/null | awk -v pgrp="$1" '{
		pid = $1
		sub(/.*\) /, "")
		if ($3 == pgrp && $1 != "Z")
			print pid
	}'
}

postfix_stop() { # DIR
	local pid tries=0

	pid=$(_postfix_master "$1") || return 0
	kill "$pid"
	while [ -n "$(_postfix_group "$pid")" ]; do
		tries=$((tries + 1))
		if [ "$tries" -gt 100 ]; then
			kill -KILL "-$pid"
			_postfix_fail "Postfix $pid had to be killed"
			return 1
		fi
		sleep 0.1
	done
}
