"""What a run has found: tables, ratios, and whether the targets are reached."""

import json
import statistics

# Columns of a table: title, key of a figure, digits.
RATES = (("accepted sess/s", "accepted_sessions_s", 0),
         ("end to end msg/s", "messages_s", 0),
         ("CPU s/1000", "cpu_per_1000", 2),
         ("session p50", "session_p50_ms", 2), ("p99", "session_p99_ms", 1),
         ("dot p50", "dot_p50_ms", 2), ("p99 ms", "dot_p99_ms", 1))
IDLE = (("held", "held", 0), ("KiB/connection", "kib_per_connection", 1),
        ("at rest MiB", "rest_mib", 1), ("with 20 MiB", "first_mib", 1))
COLUMNS = {
    "S1": RATES, "S1c": RATES, "S1w": RATES,
    "S2": (("accepted msg/s", "accepted_messages_s", 0),) + RATES[1:3] +
    RATES[5:],
    "S3": (("accepted MB/s", "accepted_mb_s", 0),
           ("end to end MB/s", "mb_s", 0)) + RATES[2:3],
    "S4": IDLE, "S4x": IDLE,
    "S5": RATES[3:],
    "S6": (("submitted in s", "submitted_s", 1), ("drained in s", "drain_s", 1),
           ("msg/s", "messages_s", 1)) + RATES[2:3],
}

POSTFIX, DOVECOT, BEST = "postfix", "dovecot", "best"
RIVALS = ("postfix", "opensmtpd", "dovecot")
# What ours must reach: scenario, figure, relation, factor, and of what; an
# absolute number if of nothing.
TARGETS = (
    ("S1", "messages_s", ">=", 2.5, POSTFIX),
    ("S1", "cpu_per_1000", "<=", 1 / 4, POSTFIX),
    ("S1", "cpu_per_1000", "<=", 1 / 3, BEST),
    ("S1w", "accepted_sessions_s", ">=", 1.8, BEST),
    ("S2", "messages_s", ">=", 5, POSTFIX),
    ("S2", "messages_s", ">", 1, DOVECOT),
    ("S2", "cpu_per_1000", "<=", 0.4, DOVECOT),
    ("S3", "mb_s", ">=", 1.6, POSTFIX),
    ("S4", "kib_per_connection", "<=", 18, None),
    ("S4", "rest_mib", "<=", 16, None),
    ("S4x", "held_part", ">=", 1, None),
    ("S4x", "kib_per_connection", "<=", 18, None),
    ("S5", "session_p50_ms", "<=", 1 / 2, BEST),
    ("S5", "dot_p50_ms", "<=", 0.5, POSTFIX),
    ("S6", "drain_s", "<=", 1 / 5, POSTFIX),
)


def medians(rounds):
    """Medians of every figure over the rounds of one server."""
    return {key: statistics.median(r[key] for r in rounds)
            for key, value in rounds[0].items()
            if isinstance(value, (int, float))}


def rival(figures, key, relation, of):
    """The name of the server that a target speaks of; None if it is not
    there."""
    if of != BEST:
        return of if of in figures else None
    choose = max if relation.startswith(">") else min
    return choose((name for name in RIVALS if name in figures),
                  key=lambda name: figures[name][key], default=None)


def compare(ours, theirs, key):
    """The ratio of medians, and the least and greatest of a round; None where
    there is nothing to divide by."""
    pairs = [(a[key], b[key]) for a, b in zip(ours, theirs) if b[key]]
    whole = medians(theirs)[key]
    if not pairs or not whole:
        return None
    each = [a / b for a, b in pairs]
    return medians(ours)[key] / whole, min(each), max(each)


def target_of(results, target, ours):
    """One target for one server of ours, as a dictionary; None if it was not
    measured."""
    scenario, key, relation, factor, of = target
    rounds = {name: r for name, r in results.get(scenario, {}).items() if r}
    if ours not in rounds:
        return None
    figures = {name: medians(r) for name, r in rounds.items()}
    found = {"scenario": scenario, "figure": key, "server": ours,
             "wanted": "%s %.3g" % (relation, factor), "of": of,
             "rival": None, "value": figures[ours][key], "low": None,
             "high": None, "reached": None}
    if of is not None:
        found["value"] = None
        found["rival"] = rival(figures, key, relation, of)
        ratio = found["rival"] and compare(rounds[ours],
                                           rounds[found["rival"]], key)
        if not ratio:
            return found
        found["value"], found["low"], found["high"] = ratio
    value = found["value"]
    found["reached"] = {">=": value >= factor, ">": value > factor,
                        "<=": value <= factor}[relation]
    return found


def targets(results, ours):
    """All that were measured."""
    found = [target_of(results, target, name)
             for name in ours for target in TARGETS]
    return [t for t in found if t]


def print_table(scenario, what, rounds, ours):
    """One scenario: a line for each server, then the ratios of ours."""
    columns = COLUMNS[scenario]
    print("\n%s: %s" % (scenario, what))
    print("%-24s" % "" + "".join("%18s" % title for title, _, _ in columns))
    for name, r in rounds.items():
        if r:
            figures = medians(r)
            print("%-24s" % name + "".join(
                "%18.*f" % (digits, figures[key])
                for _, key, digits in columns))
    for name in ours:
        for other in RIVALS + tuple(ours):
            if other == name or not rounds.get(name) or not rounds.get(other):
                continue
            if other in ours and ours.index(other) > ours.index(name):
                continue
            ratios = [compare(rounds[name], rounds[other], key)
                      for _, key, _ in columns]
            print("%-24s" % (name + "/" + other) + "".join(
                "%18s" % ("%.3f" % r[0] if r else "-") for r in ratios))


def print_noise(results):
    """Whether the machine was ours alone."""
    others = sorted(r["others_cores"] for servers in results.values()
                    for rounds in servers.values() for r in rounds
                    if "others_cores" in r)
    if others:
        print("\nOther processes of the machine used %.2f cores meanwhile "
              "(median of all rounds; at worst %.2f)"
              % (statistics.median(others), others[-1]))


def print_targets(found):
    """A line for each target."""
    print("\nTargets: ratios of medians (lowest and highest of a round)")
    wide = max(len(t["server"]) for t in found)
    for t in found:
        against = ""
        if t["of"]:
            against = "x %s" % (t["rival"] or t["of"])
            if t["of"] == BEST and t["rival"]:
                against += " (the best)"
        if t["reached"] is None:
            value, verdict = "%-24s" % "?", "not measured"
        else:
            value = "%-8.3g" % t["value"]
            value += "%-16s" % ("(%.3g-%.3g)" % (t["low"], t["high"])
                                if t["low"] is not None else "")
            verdict = "reached" if t["reached"] else "NOT REACHED"
        print("%-*s %-4s %-20s %s %-8s %-22s %s" % (
            wide, t["server"], t["scenario"], t["figure"], value, t["wanted"],
            against, verdict))


def print_limits(figures):
    """What the machine allows to anybody."""
    f = figures
    print("\nlimits: what this machine allows to anybody")
    print("handshake in memory:   server %.0f us, client %.0f us of CPU"
          % (f["handshake_server_us"], f["handshake_client_us"]))
    print("bare accept loop:      %.0f handshakes/s, 20 at a time; "
          "CPU s/1000: server %.2f, load %.2f"
          % (f["accept_s"], f["accept_cpu_per_1000"],
             f["accept_load_cpu_per_1000"]))
    print("group commit of 4 KB:  records/s (us of CPU each, ms p50) when so "
          "many wait")
    waiting = sorted({int(key.split("_")[2]) for key in f
                      if key.startswith("commit_")})
    print("%-20s" % "" + "".join("%28d" % n for n in waiting))
    for store in ("file", "sqlite", "spool"):
        print("%-20s" % store + "".join("%28s" % (
            "%.0f (%.0f, %.2f)" % tuple(
                f["commit_%s_%d_%s" % (store, n, key)]
                for key in ("s", "us", "p50_ms"))) for n in waiting))


def complaints(results):
    """What a measurement must not have: failures, lost and doubled mail."""
    found = []
    for scenario, servers in results.items():
        for name, rounds in servers.items():
            for number, r in enumerate(rounds, 1):
                for key in ("failures", "lost", "doubled"):
                    if r.get(key):
                        found.append("%s %s round %d: %s %d %s" % (
                            scenario, name, number, key, r[key],
                            json.dumps(r["errors"])))
    return found
