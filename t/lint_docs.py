#!/usr/bin/python3 -B
"""What is written about the tree is true of the tree: README's map has every
file, the sample and the manual have every key, every test is run."""

import fnmatch
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OPEN_ENDS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
SLEEPS = re.compile(r"(\bsleep [0-9]|time\.sl" r"eep\(|\busl" r"eep\()")
KEY = re.compile(r"\{ (K|SH)\((\w+)\)(.*)")


def read(*path):
    """A file of the tree as text."""
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


def listing(folder, *patterns):
    """Names in a folder that match."""
    return sorted(n for n in os.listdir(os.path.join(TOP, folder))
                  if any(fnmatch.fnmatchcase(n, p) for p in patterns))


def readme_map(tap):
    """Every source file is named in README.md, a family perhaps as ctl_*.c."""
    words = set(re.findall(r"[\w*./-]+", read("README.md")))
    words |= {word.rpartition("/")[2] for word in words}
    for folder in ("submitd", "auth", "store"):
        for name in listing(folder, "*.c"):
            tap.ok(any(fnmatch.fnmatchcase(name, w) for w in words
                       if w.endswith(".c") and not w.startswith("*")),
                   "README's map has %s/%s" % (folder, name))
    for name in listing("contrib", "*") + listing("contrib/lib", "*.*"):
        if not name.startswith("__") and name != "lib":
            tap.ok(name in words, "README's map has contrib's " + name)


def conf_keys():
    """[(section or "", name, default or None, words)] from the table."""
    found = []
    for kind, name, rest in KEY.findall(read("submitd", "conf.c")):
        default = re.search(r'(?:TEXT|NUM)\((?:T_\w+, )?"([^"]*)"', rest)
        found.append(("smarthost" if kind == "SH" else "", name,
                      default and default[1]))
    return found


def sample(tap):
    """The sample has each key, in its section, with its default."""
    text = read("contrib", "submitd.conf.sample")
    keys = conf_keys()
    tap.ok(len(keys) > 40, "the table of keys was read")
    for section, name, default in keys:
        line = re.search(r"^%s(#?)%s = (.*)$"
                         % ("\t" if section else "", name), text, re.M)
        full = (section + "." if section else "") + name
        if not tap.ok(line, "the sample has " + full):
            continue
        if line[1] and default is not None:
            tap.equal(line[2].strip('"'), default,
                      "the sample has the default of " + full)
    names = re.findall(r"^\t?#?([a-z_]+) = ", text, re.M)
    tap.equal(sorted(names), sorted(name for _, name, _ in keys),
              "the sample has no other key")


def manual(tap):
    """submitd.conf(5) explains each key."""
    text = read("submitd", "submitd.conf.5")
    for _, name, _ in conf_keys():
        tap.like(text, r"(?m)^\.It .*\b%s\b" % name,
                 "submitd.conf(5) has " + name)


def all_run(tap):
    """A test that make check does not know is no test."""
    text = read("Makefile.am")
    for name in listing("t", "unit_*.c", "fuzz_*.c", "e2e_*", "lint_*",
                        "crash_*"):
        stem = re.escape(os.path.splitext(name)[0])
        tap.like(text, r"\bt/%s\b" % stem, "Makefile.am knows t/" + name)


def tidy(tap):
    """No open ends, and no test that sleeps."""
    done = subprocess.run(("git", "-C", TOP, "ls-files"), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False)
    files = done.stdout.split()
    if not files:  # an unpacked release
        files = [os.path.relpath(os.path.join(d, n), TOP) for f in
                 ("submitd", "auth", "store", "contrib", "t")
                 for d, _, names in os.walk(os.path.join(TOP, f))
                 for n in names]
    open_ends, sleeps = [], []
    for name in files:
        if "corpus/" in name or not os.path.isfile(os.path.join(TOP, name)):
            continue
        with open(os.path.join(TOP, name), encoding="utf-8",
                  errors="replace") as f:
            text = f.read()
        open_ends += [name] if OPEN_ENDS.search(text) else []
        if name.startswith("t/") and SLEEPS.search(text):
            sleeps += [name]
    tap.equal(open_ends, [], "nothing is left open")
    tap.equal(sleeps, [], "no test sleeps")


def test(tap):
    """All of it."""
    for part in (readme_map, sample, manual, all_run, tidy):
        part(tap)


taplib.run(test)
