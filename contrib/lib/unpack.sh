# unpack.sh: Debian packages that are unpacked below a folder and never
# installed, to run their programs from there.  To be sourced by sh or bash.
#
#   unpack_packages ROOT CACHE PACKAGE ...
#	Unpacks the packages below ROOT, with the libraries that their programs
#	need and the machine lacks.  Package files are kept in CACHE and fetched
#	with apt-get only when they are not there.
#   unpack_libraries ROOT
#	Prints the folders of libraries below ROOT, for LD_LIBRARY_PATH.
#
# Both print the reason on stderr and return 1 on failure.

_unpack_fail() {
	echo "unpack.sh: $*" >&2
	return 1
}

# Fetches one package file into a cache; says nothing if it is there already.
_unpack_fetch() { # CACHE PACKAGE
	local cache="$1" package="$2"

	set -- "$cache/${package}"_*.deb
	if [ -f "$1" ]; then
		return 0
	fi
	(
		cd "$cache" || exit 1
		set -- apt-get -qq -o APT::Sandbox::User=root download "$package"
		"$@" 2>apt.log || { apt-get -qq update && "$@"; } 2>apt.log ||
		    { cat apt.log >&2; exit 1; }
		rm -f apt.log
	) || _unpack_fail "package $package can't be fetched"
}

_unpack_extract() { # ROOT CACHE PACKAGE
	local root="$1" cache="$2" package="$3"

	_unpack_fetch "$cache" "$package" || return 1
	set -- "$cache/${package}"_*.deb
	dpkg-deb -x "$1" "$root" || _unpack_fail "$1 can't be unpacked"
}

unpack_libraries() { # ROOT
	local lib libs=""

	for lib in "$1"/lib/*-linux-* "$1"/usr/lib/*; do
		set -- "$lib"/*.so*
		[ ! -e "$1" ] || libs="$libs:$lib"
	done
	echo "${libs#:}"
}

# Names of libraries that unpacked programs need and nobody provides.  What is
# below ROOT, wherever, is found by whoever asks for it.
_unpack_missing() { # ROOT
	LD_LIBRARY_PATH=$(unpack_libraries "$1") find "$1" -type f \
	    \( -perm -100 -o -name '*.so*' \) -exec ldd {} + 2>/dev/null |
	    sed -n 's/^[[:space:]]*\(.*\) => not found/\1/p' | sort -u |
	    while read -r name; do
		[ -n "$(find "$1" -name "$name")" ] || echo "$name"
	done
}

# Packages whose name begins with "lib" that unpacked packages depend on and
# that are not installed.  Alternatives need no care: libraries have none.
_unpack_library_packages() { # CACHE PACKAGE ...
	local cache="$1" package

	shift
	for package; do
		dpkg-deb -f "$cache/${package}"_*.deb Depends
	done | tr ',' '\n' | sed 's/^ *//; s/[ (:|].*//' | grep '^lib' |
	    sort -u | while read -r package; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
		    grep -q ' installed$' || echo "$package"
	done
}

unpack_packages() { # ROOT CACHE PACKAGE ...
	local root="$1" cache="$2" package missing round

	shift 2
	mkdir -p "$root" "$cache" || return 1
	root=$(cd "$root" && pwd -P)
	cache=$(cd "$cache" && pwd -P)
	for package; do
		_unpack_extract "$root" "$cache" "$package" || return 1
	done
	# A library may bring its own needs; three layers are plenty.
	for round in 1 2 3; do
		missing=$(_unpack_missing "$root")
		[ -n "$missing" ] || return 0
		for package in $(_unpack_library_packages "$cache" "$@"); do
			_unpack_extract "$root" "$cache" "$package" || return 1
			set -- "$@" "$package"
		done
	done
	missing=$(_unpack_missing "$root" | tr '\n' ' ')
	[ -z "$missing" ] ||
	    _unpack_fail "no package has $missing($round rounds)"
}
