"""TAP output for tests written in Python.

A test is a function that takes a Tap and is given to run(), which prints the
plan, turns an exception into a failed line, and ends a test that hangs.
"""

import os
import re
import shutil
import signal
import sys
import traceback

# Under valgrind all deadlines are so many times later.
VALGRIND = os.environ.get("SUBMITD_VALGRIND") == "1"
SLOW = 15 if VALGRIND else 1


class Tap:
    """Counts and prints results."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def ok(self, passed, name, *details):
        """One result; details are shown if it failed."""
        self.count += 1
        if not passed:
            self.failed += 1
        print("%sok %d - %s" % ("" if passed else "not ", self.count,
                                name.replace("#", "\\#")), flush=True)
        if not passed:
            for detail in details:
                self.note(detail)
        return bool(passed)

    def equal(self, got, want, name):
        """got == want."""
        return self.ok(got == want, name, "got:  %s" % show(got),
                       "want: %s" % show(want))

    def same_bytes(self, got, want, name):
        """Two messages are the same; shows the first difference."""
        at = next((i for i, (g, w) in enumerate(zip(got, want)) if g != w),
                  min(len(got), len(want)))
        return self.ok(got == want, name,
                       "lengths %d and %d, first difference at byte %d"
                       % (len(got), len(want), at),
                       "got:  %r" % got[max(0, at - 60):at + 60],
                       "want: %r" % want[max(0, at - 60):at + 60])

    def like(self, text, pattern, name):
        """The regular expression is found in text."""
        return self.ok(re.search(pattern, text, re.S), name,
                       "text: %s" % show(text), "does not match: %s" % pattern)

    def unlike(self, text, pattern, name):
        """The regular expression is not found in text."""
        return self.ok(not re.search(pattern, text, re.S), name,
                       "text: %s" % show(text), "matches: %s" % pattern)

    def note(self, text):
        """A comment for whoever reads the log."""
        for line in str(text).splitlines() or [""]:
            print("# " + line, flush=True)


def show(value):
    """A value as it stands in a comment: texts by their lines."""
    return value if isinstance(value, str) else repr(value)


def has_program(name):
    """Whether a program is there, also one for administrators."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def skip_all(reason):
    """Ends the test as one that can't run here."""
    print("1..0 # SKIP " + reason)
    sys.exit(0)


def run(test, deadline=300):
    """Runs test(tap) and exits; after deadline seconds it has failed. The
    deadline is for a test that hangs, not for a machine that is slow."""
    def expired(_signal, _frame):
        raise TimeoutError("the test did not end within %d s"
                           % (deadline * SLOW))

    tap = Tap()
    signal.signal(signal.SIGALRM, expired)
    signal.alarm(deadline * SLOW)
    try:
        test(tap)
    except Exception:
        signal.alarm(0)
        tap.ok(False, "the test ran to its end", traceback.format_exc())
    signal.alarm(0)
    print("1..%d" % tap.count, flush=True)
    sys.exit(1 if tap.failed else 0)
