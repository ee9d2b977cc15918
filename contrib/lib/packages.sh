# packages.sh: the Debian packages for building, testing and trying submitd,
# and the steps all of that begins with: install what is missing, build below
# build/.  To be sourced by sh.

# What configure asks for, and the plugins of SASL.  libunbound-dev does not
# depend on nettle-dev, but its description for pkg-config does.
PACKAGES_BUILD="autoconf automake gcc libc6-dev make pkg-config xz-utils
    libcmocka-dev libconfuse-dev libevent-dev libidn2-dev libjansson-dev
    libpam0g-dev libsasl2-dev libsasl2-modules libseccomp-dev libsqlite3-dev
    libssl-dev libunbound-dev nettle-dev"
# What the playground runs: programs that make certificates and send mail.
PACKAGES_PLAY="ca-certificates msmtp openssl python3 util-linux"
# More mail programs and judges of passwords, and of what stands in contrib,
# which only the tests run.
PACKAGES_TEST="apparmor curl db-util git git-email gsasl libauthen-sasl-perl
    libio-socket-ssl-perl libmailtools-perl libnet-ssleay-perl mandoc mutt
    neomutt node-nodemailer nodejs s-nail sasl2-bin swaks systemd valgrind"

# Prints the packages of a list that are not installed.
packages_missing() { # PACKAGE ...
	for package in "$@"; do
		case $(dpkg-query -W -f '${db:Status-Status}' "$package" \
		    2>/dev/null) in
		installed) ;;
		*) printf ' %s' "$package" ;;
		esac
	done
}

# Installs the packages that are missing; does nothing, and needs neither
# root nor network, when there are none.
packages_install() { # PACKAGE ...
	missing=$(packages_missing "$@")
	[ -n "$missing" ] || return 0
	echo "Installing Debian packages:$missing"
	become=""
	if [ "$(id -u)" -ne 0 ]; then
		become=sudo
		command -v sudo >/dev/null || {
			echo "There is no sudo; as root run: apt-get install" \
			    "$missing" >&2
			return 1
		}
	fi
	# A package list that is old or empty is the usual cause of a failure.
	packages_apt || { $become apt-get -q update && packages_apt; } || {
		echo "Not installed:$missing; is there a network?" >&2
		return 1
	}
}

packages_apt() { # uses $become and $missing
	# shellcheck disable=SC2086 # one word a package, no word without sudo
	$become env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
	    --no-install-recommends install $missing </dev/null
}

# Builds the tree in whose top we are, below build/ or $BUILD.  An older build
# is kept if it was configured with at least these options.
build_tree() ( # CONFIGURE-OPTION ...
	if [ ! -x configure ] || [ ! -f Makefile.in ]; then
		autoreconf -i || exit 1
	fi
	mkdir -p "${BUILD:-build}" && cd "${BUILD:-build}" || exit 1
	if [ ! -f Makefile ] || ! build_has "$@"; then
		../configure -q "$@" || exit 1
		make -s clean || exit 1
	fi
	make -s -j2
)

# Whether build/ was configured with all these options.
build_has() { # CONFIGURE-OPTION ...
	for option in "$@"; do
		./config.status --config | tr -d "'" | tr ' ' '\n' |
		    grep -qx -e "$option" || return 1
	done
}
