#!/usr/bin/python3 -B
"""What is written about the tree is true of the tree: README's map has every
file, the sample and the manual have every key with its default, the manual has
every event of the log, every test is run."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OPEN_ENDS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
SLEEPS = re.compile(r"(\bsleep [0-9]|time\.sl" r"eep\(|\busl" r"eep\()")
KEY = re.compile(r"\{ (K|SH|LIMIT|CE)\((\w+)(?:, \w+)?\)(.*)")
SECTIONS = {"K": "", "LIMIT": "", "SH": "smarthost", "CE": "certificate"}
RANGE = re.compile(r"NUM\(T_(?:INT|SIZE|TIME), [^,]*, ([^,]*), ([^,]*),")
UNITS = {"SECOND": 1000, "MINUTE": 60000, "HOUR": 3600000, "DAY": 86400000,
         "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
SUFFIXES = {"ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000,
            "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "": 1}
EVENT = re.compile(r"log_(?:event|warn|info|debug)\(")


def read(*path):
    """A file of the tree as text."""
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


def listing(folder, *patterns):
    """Names in a folder that match."""
    return sorted(n for n in os.listdir(os.path.join(TOP, folder))
                  if any(fnmatch.fnmatchcase(n, p) for p in patterns))


def readme_map(tap):
    """Every source file is named in README.md, a family perhaps as ctl_*.c; a
    header also by the file it belongs to."""
    words = set(re.findall(r"[\w*./-]+", read("README.md")))
    words |= {word.rpartition("/")[2] for word in words}

    def has(name):
        end = os.path.splitext(name)[1]
        return any(fnmatch.fnmatchcase(name, w) for w in words
                   if w.endswith(end) and not w.startswith("*"))

    for folder in ("submitd", "auth", "store", "t"):
        for name in listing(folder, "*.c", "*.h", "*.py", "*.sh"):
            body = name[:-1] + "c"
            tap.ok(has(name) or (name.endswith(".h") and os.path.exists(
                os.path.join(TOP, folder, body)) and has(body)),
                   "README's map has %s/%s" % (folder, name))
    for name in listing("t/lib", "*.py"):
        tap.ok("lib/" + name in words, "README's map has t/lib/" + name)
    for name in listing("contrib", "*") + listing("contrib/lib", "*.*"):
        if not name.startswith("__") and name != "lib":
            tap.ok(name in words, "README's map has contrib's " + name)


def conf_keys():
    """[(section or "", name, default or None, words)] from the table."""
    found = []
    for kind, name, rest in KEY.findall(read("submitd", "conf.c")):
        default = re.search(r'(?:TEXT|NUM)\((?:T_\w+, )?"([^"]*)"', rest)
        found.append((SECTIONS[kind], name, default and default[1]))
    return found


def sample(tap):
    """The sample has each key, in its section, with its default."""
    text = read("contrib", "submitd.conf.sample")
    keys = conf_keys()
    tap.ok(len(keys) > 40, "the table of keys was read")
    for section, name, default in keys:
        before = {"": "(#?)", "smarthost": "\t(#?)",
                  "certificate": "(#)\t"}[section]
        line = re.search("^%s%s = (.*)$" % (before, name), text, re.M)
        full = (section + "." if section else "") + name
        if not tap.ok(line, "the sample has " + full):
            continue
        if line[1] and default is not None:
            tap.equal(line[2].strip('"'), default,
                      "the sample has the default of " + full)
    names = re.findall(r"^\t?#?\t?([a-z_]+) = ", text, re.M)
    tap.equal(sorted(names), sorted(name for _, name, _ in keys),
              "the sample has no other key")


def key_ranges():
    """{(section or "", name): (lowest, highest)} of the numbers."""
    found = {}
    for kind, name, rest in KEY.findall(read("submitd", "conf.c")):
        numbers = RANGE.search(rest)
        if numbers:
            found[SECTIONS[kind], name] = tuple(
                product(text) for text in numbers.groups())
    return found


def product(text):
    """A limit as conf.c has it: 30 * SECOND."""
    result = 1
    for factor in text.split("*"):
        factor = factor.strip()
        result *= UNITS[factor] if factor in UNITS else int(factor)
    return result


def amount(text):
    """A number as people write it: 30s."""
    digits = re.match(r"\d+", text)[0]
    return int(digits) * SUFFIXES[text[len(digits):]]


def manual(tap):
    """submitd.conf(5) explains each key, with its default and range."""
    text = read("submitd", "submitd.conf.5")
    parts = {"": text}
    for section in ("smarthost", "certificate"):
        main, _, part = parts[""].partition(".Ss Section " + section)
        parts[section], _, rest = part.partition("\n.Ss ")
        parts[""] = main + rest
    ranges = key_ranges()
    for section, name, default in conf_keys():
        where = parts[section]
        full = (section + "." if section else "") + name
        item = re.search(r"^\.It Ic %s\n(.*?)(?=^\.It |^\.El)" % name, where,
                         re.M | re.S)
        if not tap.ok(item, "submitd.conf(5) has " + full):
            continue
        said = re.search(r"^Default:\s+(?:\.\w+ )?(?:\\\(dq)?"
                         r"((?<=dq).*?(?=\\\(dq)|\S+?)"
                         r"(?:\\\(dq)?[.,;]?(?:\s|$)", item[1], re.M)
        if default:
            tap.equal(said and said[1], default,
                      "submitd.conf(5) has the default of " + full)
        else:
            tap.ok(said and said[1] in ("empty", "none", "the"),
                   "submitd.conf(5) says that %s has no default" % full)
        if (section, name) in ranges:
            said = re.search(r"^Default: \w+; (\w+) to (\w+)\.$", item[1],
                             re.M)
            tap.equal(said and tuple(map(amount, said.groups())),
                      ranges[section, name],
                      "submitd.conf(5) has the range of " + full)


def events(text):
    """Names of the events that a C file logs."""
    found = set()
    for call in EVENT.finditer(text):
        for literal in re.findall(r'"((?:[^"\\]|\\.)*)"',
                                  text[call.end():call.end() + 400]):
            if not re.fullmatch(r"[a-z_-]+", literal):
                break  # the format: what follows are values
            found.add(literal)
    return found


def log(tap):
    """submitd(8) explains each event of the log."""
    items = " ".join(re.findall(r"^\.It Li (.*)", read("submitd", "submitd.8"),
                                re.M))
    words = set(re.findall(r"[\w-]+", items))
    names = set()
    for name in listing("submitd", "*.c"):
        names |= events(read("submitd", name))
    tap.ok(len(names) > 30, "events were found")
    for name in sorted(names):
        tap.ok(name in words, "submitd(8) has ev=" + name)


def mdoc(tap):
    """mandoc has nothing to say about the manuals."""
    if not shutil.which("mandoc"):
        tap.note("no mandoc here: what it would say is not known")
        return
    for name in listing("submitd", "*.[58]"):
        done = subprocess.run(
            ("mandoc", "-T", "lint", "-W", "warning",
             os.path.join(TOP, "submitd", name)), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        tap.equal(done.stdout, "", name + ": mandoc -T lint")


def all_run(tap):
    """A test that make check does not know is no test."""
    text = read("Makefile.am")
    for name in listing("t", "unit_*.c", "fuzz_*.c", "e2e_*", "lint_*",
                        "crash_*"):
        stem = re.escape(os.path.splitext(name)[0])
        tap.like(text, r"\bt/%s\b" % stem, "Makefile.am knows t/" + name)


def texts():
    """(path, text) of all files that people write."""
    for folder in ("submitd", "auth", "store", "contrib", "t"):
        for where, _, names in os.walk(os.path.join(TOP, folder)):
            for name in names:
                path = os.path.relpath(os.path.join(where, name), TOP)
                if "/corpus/" in path or "__pycache__" in path:
                    continue
                with open(os.path.join(TOP, path), "rb") as f:
                    data = f.read()
                if b"\0" not in data:  # not one the compiler wrote
                    yield path, data.decode("utf-8", "replace")


def tidy(tap):
    """No open ends, and no test that sleeps."""
    open_ends, sleeps = [], []
    for path, text in texts():
        if OPEN_ENDS.search(text):
            open_ends.append(path)
        if path.startswith("t/") and not path.startswith("t/bench/") \
                and SLEEPS.search(text):
            sleeps.append(path)
    tap.equal(open_ends, [], "nothing is left open")
    tap.equal(sleeps, [], "no test sleeps")


def test(tap):
    """All of it."""
    for part in (readme_map, sample, manual, log, mdoc, all_run, tidy):
        part(tap)


taplib.run(test)
