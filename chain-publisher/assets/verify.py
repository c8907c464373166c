"""Verifies a Daybook evidence pack (FORMAT.md §7, §8) with Python's standard library alone.
  python3 verify.py PACK --key VKEY… [--head FILE]… [--allow-partial]
Keys and heads must be yours, not the pack's, and every key of a log that replaced its own. Exit code: 0
VERIFIED, 1 TAMPERED or FORKED, 2 no verdict, 3 UNANCHORED, 4 INCOMPLETE, 5 PARTIAL. daybook-verify does more.
Not checked: readings.csv, config.json and policy, which that derives again; chains of streams; sealed texts;
form and times of entries; the configuration that readings rest on, where it did not change since; order and
bytes of the ZIP beside its files; files of artefacts that are not in it; proofs inside heads; cosignatures;
time stamps; why entries are pruned or keys replaced, and which of your keys was in force when; post-quantum
keys; other devices of a site; what was dropped unreceipted; whether sensors tell the truth."""
import argparse, base64, bisect, collections, hashlib, json, os, re, sys, zipfile
EXIT, found = dict(TAMPERED=1, FORKED=1, INCOMPLETE=4, UNANCHORED=3, PARTIAL=5, VERIFIED=0), []
def say(verdict, words): found.append((verdict, words))
def need(holds, words):
    if not holds: raise ValueError(words)
def sha(data): return hashlib.sha256(data).digest()
def node(left, right): return sha(b"\1" + left + right)
def b64(data): return base64.b64encode(data).decode()
def unb64(text): return base64.b64decode(text, validate=True)
def blind(x): return base64.urlsafe_b64encode(sha(b"daybook/stream/v1\n" + x.encode())[:16]).decode()[:22]
Q, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493  # Ed25519, RFC 8032 §5.1
D = -121665 * pow(121666, -1, Q) % Q
def add(p, q):
    (a, b), (c, d) = p, q; t = D * a * b % Q * c * d
    return (a * d + b * c) * pow(1 + t, -1, Q) % Q, (b * d + a * c) * pow(1 - t, -1, Q) % Q
def times(n, p): return add(times(n - 1, p), p) if n & 1 else times(n >> 1, add(p, p)) if n else (0, 1)
def point(data):
    y = int.from_bytes(data, "little") % 2**255; square = (y * y - 1) * pow(D * y * y + 1, -1, Q) % Q
    x = pow(square, (Q + 3) // 8, Q); x = x * pow(2, (Q - 1) // 4, Q) % Q if (x * x - square) % Q else x
    return (x if x & 1 == data[31] >> 7 else Q - x), y
def signature_holds(key, text, signature):
    s, (x, y) = int.from_bytes(signature[32:], "little"), point(key)
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + text).digest(), "little") % ORDER
    x, y = add(times(s % ORDER, point(b"\x58" + b"\x66" * 31)), times(k, (Q - x, y)))
    return s < ORDER and (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]
def verifier_key(text):
    name, key_id, public = text.split("+", 2)
    need(sha(name.encode() + b"\n" + unb64(public))[:4].hex() == key_id, text + " is no key")
    return name, key_id, unb64(public)
def note(data, keys, what):  # its text, which at least one of the keys signed, and none wrongly
    signed, (text, _, lines) = False, data.decode().rpartition("\n\n")
    for name, key_id, public in (key for key in map(verifier_key, keys) if key[2][0] == 1):  # Ed25519
        for by, signature in re.findall("^— ([^ +]+) ([A-Za-z0-9+/=]+)$", lines, re.M):
            if by == name and unb64(signature)[:4].hex() == key_id:
                signed = signature_holds(public[1:], text.encode() + b"\n", unb64(signature)[4:])
                need(signed, "%s: the signature of %s does not hold" % (what, name))
    need(signed, what + ": no known key signed it"); return text + "\n"
def checkpoint(data, keys, what):  # origin, size, root; a head ends in a checkpoint
    if data.startswith(b"c2sp.org/tlog-proof@"): data = data.split(b"\n\n", 1)[1]
    named = [key for key in keys if data.startswith(key.split("+")[0].encode() + b"\n")]  # no recovery key
    origin, size, root, _ = note(data, named, what).split("\n"); return origin, int(size), unb64(root)
def fold(leaf, index, size, path):  # the root that an audit path leads to
    need(bool(path) == (size > 1) and index < size, "a proof is too long or too short")
    if size == 1: return leaf
    half = 1 << (size - 1).bit_length() - 1
    if index < half: return node(fold(leaf, index, half, path[:-1]), path[-1])
    return node(path[-1], fold(leaf, index - half, size - half, path[:-1]))
def roots(trees, sizes):  # from perfect trees (start, level, hash), which stand side by side
    at, stack, result = 0, [], {}
    for start, level, hash in sorted(trees):
        need(start == at, "nodes.ndjson: a hash at position %d is missing or one too many" % min(start, at))
        at += 1 << level
        while stack and stack[-1][0] == level: level, hash = level + 1, node(stack.pop()[1], hash)
        stack.append((level, hash))
        for _, left in stack[-2::-1] if at in sizes else []: hash = node(left, hash)
        if at in sizes: result[at] = hash
    return result
def entries(pack, site):  # streams are {sequence: position}; devices are those of the site
    leaves, pruned, ledger, streams, owners, devices, files = [], {}, [], {}, {}, set(), {}
    for line in pack.open("entries.ndjson"):
        position, leaf = (entry := json.loads(line))["position"], sha(b"\0" + line[:-1])
        need(not leaves or leaves[-1][0] < position, "position %d stands behind a later one" % position)
        leaves.append((position, 0, unb64(entry["leaf_hash"]) if "leaf_hash" in entry else leaf))
        if "leaf_hash" in entry: pruned |= {position: entry["pruned_by"]} if "pruned_by" in entry else {}
        elif entry["aggregate_type"] == "ledger": ledger.append(entry)
        else:
            kind, id, sequence = entry["aggregate_type"], entry["aggregate_id"], entry["sequence"]
            first = streams.setdefault(kind + "/" + id, {}).setdefault(sequence, position)
            need(first == position, "position %d: its sequence %d is at %d too" % (position, sequence, first))
            of = entry["metadata"] if kind != "readings" else {"owner": id}
            owners.setdefault(kind + "/" + id, (of.get("account"), of.get("owner")))
            place = {"DeviceRegistered": "site", "DeviceMoved": "to_site"}.get(entry["event_type"])
            if place and entry["payload"][place] == site: devices.add(id)
            one = entry["payload"].get("artefact") if entry["event_type"] == "ArtefactRegistered" else None
            if one: files["artefacts/" + id] = base64.urlsafe_b64decode(one["salt"] + "=="), one["sha256"]
    return leaves, pruned, ledger, streams, owners, devices, files
def days(ledger, heads, query):  # that were asked for and are closed, each with its head
    closed, asked = [entry["payload"] for entry in ledger if entry["event_type"] == "DayClosed"], []
    for before, day in zip([None] + closed, closed):
        date, first, begins = day["date"], day["first_position"], day.get("idle_since", day["date"])
        need(sum(day["entries"].values()) == day["size"] - first, date + ": its counts are not its positions")
        if heads.pop(day["size"] + 1, None) != date: say("INCOMPLETE", date + ": its head is not in the pack")
        elif begins <= query["to"] and date >= query["from"]: asked.append(day)
        behind = first == before["size"] + 1 if before else not day["previous"] or begins <= query["from"]
        if not behind: say("INCOMPLETE", "the days before %s are not in the pack" % begins)
    if heads: say("INCOMPLETE", "a DayClosed whose head is in the pack is not there itself")
    return asked
def maps(pack, days, account, owners):  # openings by stream: (date, first, last); none may lack
    lines, openings = {date: [(-1, "", True)] for date in days}, {}
    for line in map(json.loads, pack.open("streams.ndjson")):
        date, index, text, opening = line["date"], line["index"], line["line"], line.get("opening")
        need(date in days, date + " is not one of this pack's days")
        root = fold(sha(b"\0%s\n" % text.encode()), index, days[date]["count"], [*map(unb64, line["proof"])])
        need(b64(root) == days[date]["root"] and lines[date][-1][1] < text, date + ": not in its map")
        lines[date].append((index, text, opening is not None))
        if opening:
            need(b64(sha(opening.encode())) == text[69:], date + ": an opening is not that of its line")
            openings.setdefault(text[46:68], []).append((date, *map(int, opening.split()[:2])))
    for date, prefix in [(date, blind(account) + " " + blind(one) + " ") for date in days for one in owners]:
        own = [is_open for _, text, is_open in lines[date] if text[:46] == prefix]
        left = max(index for index, text, _ in lines[date] if text < prefix)
        right = min([index for index, text, _ in lines[date] if text[:46] > prefix] + [days[date]["count"]])
        if len(own) != right - left - 1 or not all(own):
            say("INCOMPLETE", date + ": lines of its streams and their neighbours in its map are missing")
    return openings
def missing(name, there, openings, date_of):  # sequences; an entry is of the day whose line tells of it
    begin = min(there, default=1) if name.startswith("readings/") else 1
    expected = dict.fromkeys(range(begin, max(there, default=0) + 1))
    for date, first, last in openings: expected.update(dict.fromkeys(range(first, last + 1), date))
    if any(date_of(position) != expected[sequence] for sequence, position in there.items()):
        say("INCOMPLETE" if found else "TAMPERED", name + ": an entry that no map line tells of")
    return [(day, "%s: sequence %d is missing" % (name, n)) for n, day in expected.items() if n not in there]
def verify(pack, keys, kept):
    manifest, known, heads = json.loads(pack.read("manifest.json")), {}, {}
    for name in pack.namelist()[2:]:
        need(manifest["files"][name]["sha256"] == b64(sha(pack.read(name))), name + " is not as listed")
    trees, pruned, ledger, streams, owners, devices, files = entries(pack, manifest["query"].get("site"))
    query, rotated = manifest["query"], [one["payload"] for one in ledger if one["event_type"] == "KeyRotated"]
    logs, receipts = (ledger[0]["payload"][role + "_keys"] + [to["new"] for to in rotated if to["role"] == role]
                      for role in ("log", "receipt"))
    if rotated and keys and any(verifier_key(key)[2][0] == 1 for key in {*logs} - {*keys}):
        sys.exit(print("no verdict: the log's key was replaced, give each with --key", file=sys.stderr) or 2)
    for name in (name for name in pack.namelist() if name == "checkpoint" or name.startswith("heads/")):
        origin, size, root = checkpoint(pack.read(name), keys or logs, name)
        need(origin == manifest["origin"] and known.setdefault(size, root) == root, name + ": another tree")
        if name != "checkpoint": need(heads.setdefault(size, name[11:21]) == name[11:21], name + ": day?")
    size, text = max(known), "daybook/pack/v1\n%s\n%s\n" % (origin, b64(sha(pack.read("manifest.json"))))
    need(note(pack.read("manifest.note"), receipts, "the manifest") == text, "the manifest: it is not signed")
    nodes = map(json.loads, pack.open("nodes.ndjson"))
    trees += [(one["index"] << one["level"], one["level"], unb64(one["hash"])) for one in nodes]
    need(roots(trees, known) == known, "entries and nodes lead to another root than the one that is signed")
    for name in (name for name in pack.namelist() if name.startswith("artefacts/")):
        salt, hash = files.get(name, (b"", ""))
        need(b64(sha(salt + pack.read(name))) == hash, name + " is not the file that an entry registers")
    asked = days(ledger, heads, query)
    def date_of(position):
        day = (asked + [None])[bisect.bisect_right(asked, position, key=lambda day: day["size"])]
        return day["date"] if day and day["first_position"] <= position else None
    subjects = [kind + "/" + query[kind] for kind in ("device", "channel", "site", "alarm") if kind in query]
    account, owner = owners.get(subjects[0], ("", ""))
    if "alarm" in query: devices.add(query["channel"])  # which owns its alarms, rules, silences and states
    for one in {*subjects} - {*owners}: say("INCOMPLETE", "the first entry of %s is not in the pack" % one)
    for name in owners: need(not account or owners[name][1] in devices | {owner}, name + " was not asked for")
    openings = maps(pack, {day["date"]: day["streams"] for day in asked}, account, devices | {owner})
    gaps, names = [], {blind(name): name for name in streams}
    for id in sorted({*names, *openings} - {blind("tokens/" + owner) for owner in devices | {owner}}):
        name = names.get(id, "a stream of which nothing is in the pack")
        gaps += missing(name, streams.get(name, {}), openings.get(id, []), date_of)
    terms = {**ledger[0]["payload"].get("retention", {}), "audit": None, "ledger": None}  # None is for ever
    for one in (one for one in ledger if one["event_type"] == "RetentionPolicySet"):
        new = one["payload"].get("retention", {})
        short = [k for k, n in new.items() if n is not None and (terms.get(k) is None or n < terms[k])]
        need(not short, "position %d: retention is shortened, of %s" % (one["position"], short)); terms |= new
    applied = {e["position"]: e["payload"]["days"] for e in ledger if e["event_type"] == "RetentionApplied"}
    for position, by in pruned.items():
        lawful = by in applied and applied[by]["first"] <= date_of(position) <= applied[by]["last"]
        need(lawful, "position %d: no RetentionApplied of its day removed its bytes" % position)
    lacking = collections.Counter(date for date, _ in gaps) - collections.Counter(map(date_of, pruned))
    found.extend(("INCOMPLETE", words) for date, words in gaps if lacking[date])
    if pruned: say("PARTIAL", "%d entries are pruned" % len(pruned))
    closed, end = (asked[-1]["date"], asked[-1]["size"]) if asked else ("", -1)
    for name, is_head, (_, at, root) in kept:
        if at not in known: say("not checked", "%s: the pack has no root at its size %d" % (name, at))
        elif known[at] != root: say("FORKED", "%s has another root at size %d than the pack" % (name, at))
        if is_head and closed < query["to"] and end + 1 < at <= size:
            say("INCOMPLETE", "%s closes a day after %s, which is left out" % (name, closed))
    if closed < query["to"]: say("UNANCHORED", "nothing closes the days after %s" % (closed or query["from"]))
    if not keys or max([at for _, _, (_, at, _) in kept if at in known], default=-1) <= end:
        say("UNANCHORED", "no key and head of yours confirm all of it")
    return "%s, %d entries and hashes, size %d, root %s" % (subjects[0], len(trees), size, b64(known[size]))
def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--key", "--head"): options.add_argument(name, action="append", default=[])
    options.add_argument("--allow-partial", action="store_true"), options.add_argument("pack")
    asked, about = options.parse_args(), ""
    try:
        keys = [open(key).read().strip() if os.path.exists(key) else key for key in asked.key]
        files = [(name, open(name, "rb").read()) for name in asked.head]
        kept = [(name, data.startswith(b"c2sp"), checkpoint(data, keys, name)) for name, data in files]
        need(all(map(verifier_key, keys)) and open(asked.pack, "rb").read(4) not in (b"age-", b"----"),
             "it is encrypted with age: run  age --decrypt --identity KEY --output pack.zip FILE")
        pack = zipfile.ZipFile(asked.pack)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        sys.exit(print("no verdict:", error, file=sys.stderr) or 2)
    try: about = verify(pack, keys, kept)
    except Exception as error: say("TAMPERED", str(error) if type(error) is ValueError else repr(error))
    verdict = next(verdict for verdict in EXIT if verdict == "VERIFIED" or verdict in dict(found))
    print(verdict + ": " + about, *map(": ".join, found), "Not" + re.split(r"\sNot", __doc__)[1], sep="\n")
    return 0 if verdict == "PARTIAL" and asked.allow_partial else EXIT[verdict]
if __name__ == "__main__": sys.exit(main())
