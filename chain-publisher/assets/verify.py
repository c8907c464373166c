#!/usr/bin/env python3
"""Verifies a Daybook evidence pack (FORMAT.md §7, §8) with the Python standard library alone, and sends nothing anywhere.
   python3 verify.py PACK [--key VKEY]… [--origin O] [--head FILE]… [--policy FILE] [--allow-partial] [--json]
What convinces must come from outside the pack: the log's key, and heads you kept or witnesses you trust (a C2SP tlog-policy).
Exit code: 0 VERIFIED, 1 TAMPERED or FORKED, 2 unreadable, 3 UNANCHORED, 4 INCOMPLETE, 5 PARTIAL (what was asked is partly pruned)."""
import argparse, array, base64, bisect, datetime, hashlib, json, os, re, struct, sys, zlib
sha, b64 = lambda b: hashlib.sha256(b).digest(), lambda b: base64.b64encode(b).decode()
node, id16 = lambda l, r: sha(b"\1" + l + r), lambda x: base64.urlsafe_b64encode(sha(b"daybook/stream/v1\n" + x.encode())[:16]).decode()[:22]
ZERO, BIG = bytes(32), 2**53 - 1
EXIT = {"VERIFIED": 0, "TAMPERED": 1, "FORKED": 1, "UNANCHORED": 3, "INCOMPLETE": 4, "PARTIAL": 5}
class Problem(Exception): pass                       # TAMPERED, and nothing after it can be checked
class Unreadable(Exception): pass                    # no verdict at all
def need(true, words):
    if not true: raise Problem(words)
def unb64(s, n=None):
    try: b = base64.b64decode(s, validate=True)
    except (ValueError, TypeError): raise Problem("bad base64 %.60r" % (s,))
    need(b64(b) == s and n in (None, len(b)), "bad base64 %.60r" % s)
    return b
# -- Ed25519 (RFC 8032 §5.1.7, without cofactor, S < L) in extended coordinates -------------------------------------------
Q, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, I = -121665 * pow(121666, Q - 2, Q) % Q, pow(2, (Q - 1) // 4, Q)
def add(p, q):
    a, b, c, d = (p[1]-p[0])*(q[1]-q[0]) % Q, (p[1]+p[0])*(q[1]+q[0]) % Q, 2*p[3]*q[3]*D % Q, 2*p[2]*q[2] % Q
    e, f, g, h = b-a, d-c, d+c, b+a
    return e*f % Q, g*h % Q, f*g % Q, e*h % Q
def mul(n, p):
    r = (0, 1, 1, 0)
    while n: r, p, n = add(r, p) if n & 1 else r, add(p, p), n >> 1
    return r
def point(b):
    y, sign = int.from_bytes(b, "little") & (2**255 - 1), b[31] >> 7
    x2 = (y*y - 1) * pow(D*y*y + 1, Q - 2, Q) % Q
    x = pow(x2, (Q + 3) // 8, Q)
    if (x*x - x2) % Q: x = x * I % Q
    if y >= Q or (x*x - x2) % Q or (x == 0 and sign): return None
    if x & 1 != sign: x = Q - x
    return x, y, 1, x*y % Q
BASE = point(b"\x58" + b"\x66" * 31)
def ed25519(key, message, sig):
    a, s = point(key), int.from_bytes(sig[32:], "little")
    if len(sig) != 64 or a is None or s >= L: return False
    k = int.from_bytes(hashlib.sha512(sig[:32] + key + message).digest(), "little") % L
    x, y, z, _ = add(mul(s, BASE), mul(k, (Q - a[0], a[1], 1, Q - a[3])))
    z = pow(z, Q - 2, Q)
    return (y*z % Q | (x*z % Q & 1) << 255).to_bytes(32, "little") == sig[:32]
# -- JSON as RFC 8785 (JCS) has it ------------------------------------------------------------------------------------------
def es(f):                                           # a float as ECMAScript writes it; Python's repr has the same shortest digits
    m, _, e = repr(abs(f)).partition("e"); ip, _, fp = m.partition(".")
    n, d = len(ip) + int(e or 0), ip + ("" if fp == "0" else fp)
    while len(d) > 1 and d[0] == "0": d, n = d[1:], n - 1
    d = d.rstrip("0") or "0"; k = len(d); sign = "-" if f < 0 else ""
    if k <= n <= 21: return sign + d + "0" * (n - k)
    if 0 < n <= 21: return sign + d[:n] + "." + d[n:]
    if -6 < n <= 0: return sign + "0." + "0" * -n + d
    return sign + d[0] + ("." + d[1:] if k > 1 else "") + "e%+d" % (n - 1)
def jcs(v):
    if type(v) is dict:
        return "{" + ",".join(json.dumps(k, ensure_ascii=False) + ":" + jcs(v[k]) for k in sorted(v, key=lambda k: k.encode("utf-16-be",
             "surrogatepass"))) + "}"
    if type(v) is list: return "[" + ",".join(map(jcs, v)) + "]"
    return es(v) if type(v) is float else json.dumps(v, ensure_ascii=False)
def real(t):
    f = float(t)
    if (repr(f) != t or abs(f) < 1e-4 or f.is_integer()) and (abs(f) > BIG or es(f) != t): raise ValueError("number %.40s" % t)
    return f
def whole(t):
    if len(t) > 17 or abs(int(t)) > BIG: raise ValueError("integer %.40s" % t)
    return int(t)
def depth(v): return 1 + max(map(depth, v.values() if type(v) is dict else v), default=0) if type(v) in (dict, list) else 0
DECODE = json.JSONDecoder(parse_float=real, parse_int=whole, parse_constant=whole).decode
ENCODE = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode
def parse(b, where):
    try:
        t = b.decode("utf-8"); v = DECODE(t)
        need(type(v) is dict and (t.isascii() and ENCODE(v) == t or jcs(v) == t), where + ": not the canonical form of a JSON object")
        need(b.count(b"{") + b.count(b"[") <= 16 or depth(v) <= 16, where + ": nested deeper than 16")
    except (ValueError, RecursionError) as e: raise Problem("%s: not strict JSON (%s)" % (where, e))
    return v
# -- signed notes, checkpoints, proofs, policies (C2SP) -------------------------------------------------------------------
def vkey(s):                                         # -> (name, key id, type, public key)
    try: name, kid, key = s.split("+", 2); key = unb64(key)
    except (ValueError, AttributeError): raise Problem("bad verifier key %.80r" % (s,))
    need(sha(name.encode() + b"\n" + key)[:4].hex() == kid, "verifier key %s: the key id is not that of the key" % name)
    return name, bytes.fromhex(kid), key[0], key[1:]
def note(b, where):                                  # -> text, [(key name, key id, signature)]
    try: text, _, sigs = b.decode("utf-8").rpartition("\n\n")
    except ValueError: raise Problem(where + ": not UTF-8")
    lines = [re.fullmatch("— ([^ +]+) ([A-Za-z0-9+/=]+)", l) for l in sigs.split("\n")[:-1]]
    need(text and sigs.endswith("\n") and 0 < len(lines) <= 100 and all(lines) and not re.search("[\0-\x09\x0b-\x1f]", text + sigs),
         where + ": not a signed note")
    return text + "\n", [(m[1], unb64(m[2])[:4], unb64(m[2])[4:]) for m in lines]
def signers(n, keys, where):                         # {vkey: time or None} of the keys that signed; one that is known and fails is TAMPERED
    found = {}
    for s in keys:
        name, kid, kind, pub = vkey(s)
        for sig in [g for a, i, g in n[1] if (a, i) == (name, kid) and kind in (1, 4)]:
            t = int.from_bytes(sig[:8], "big") if kind == 4 else None
            text = n[0] if kind == 1 else "cosignature/v1\ntime %d\n%s" % (t, n[0])
            need(ed25519(pub, text.encode(), sig[8:] if kind == 4 else sig), "%s: the signature of %s does not hold" % (where, name))
            found[s] = t
    return found
def checkpoint(b, where):                            # -> note, origin, size, root
    n = note(b, where); m = re.fullmatch("([^\n]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n", n[0])
    need(m, where + ": not a checkpoint"); return n, m[1], int(m[2]), unb64(m[3], 32)
def fold(h, index, size, path, where):               # RFC 6962 audit path -> root
    a, b = index, size - 1
    for p in path:
        need(b > 0, where + ": the proof is too long")
        if a & 1 or a == b:
            h = node(p, h)
            while not a & 1 and a: a, b = a >> 1, b >> 1
        else: h = node(h, p)
        a, b = a >> 1, b >> 1
    need(b == 0 and 0 <= index < size, where + ": the proof is too short"); return h
def head(b, where, kept=False):                      # a tlog-proof whose extra is a DayClosed entry (FORMAT §5), checked in itself
    m = re.fullmatch(rb"c2sp\.org/tlog-proof@v1\nextra ([^\n]+)\nindex (0|[1-9][0-9]{0,15})\n((?:[^\n]+\n)*)\n(.*)", b, re.S)
    need(m, where + ": not a tlog-proof with extra data"); extra, index = unb64(m[1].decode()), int(m[2])
    path = [unb64(l.decode(), 32) for l in m[3].split(b"\n")[:-1]]; n, origin, size, root = checkpoint(m[4], where); e = parse(extra, where)
    p = e.get("payload")
    need((e.get("aggregate_type"), e.get("aggregate_id"), e.get("event_type")) == ("ledger", "main", "DayClosed"), where + ": not a DayClosed of ledger/main")
    need(e["position"] == index == p["size"] and (size == index + 1 or kept and size > index),
         where + ": index, position, size and the checkpoint's size do not fit")
    need(fold(sha(b"\0" + extra), index, size, path, where) == root, where + ": the proof does not lead to the checkpoint's root")
    before = path[0] if path else ZERO               # a kept .late.tlog-proof has a larger checkpoint
    for h in path[1:]: before = node(h, before)      # the leaf is the last one: its left siblings are the tree of `size`
    need(b64(before) == p["root"] or size > index + 1, where + ": root is not that of the tree of its size")
    need(sum(p["entries"].values()) == p["size"] - p["first_position"], where + ": entries do not add up to the day's positions")
    return dict(p, where=where, note=n, origin=origin, leaf=sha(b"\0" + extra), tree=size, hash=root, low=p.get("idle_since", p["date"]), e=e)
def policy(text):                                    # -> log keys, witness keys, function(set of witness keys) -> is the quorum reached
    logs, wit, rule, quorum = [], {}, {}, None
    for w in (l.split() for l in text.split("\n") if l.strip() and l.strip()[0] != "#"):
        if w[0] == "log": logs.append(w[1])
        elif w[0] == "witness": wit[w[1]] = w[2]; rule[w[1]] = lambda s, k=w[2]: k in s
        elif w[0] == "group":
            k, ms = {"any": 1, "all": len(w) - 3}.get(w[2]) or int(w[2]), [rule[x] for x in w[3:]]
            rule[w[1]] = lambda s, k=k, ms=ms: sum(m(s) for m in ms) >= k
        elif w[0] == "quorum": quorum = None if w[1] == "none" else rule[w[1]]
        else: raise ValueError(w[0])
    return logs, list(wit.values()), quorum
# -- the pack -----------------------------------------------------------------------------------------------------------------
FILES = "manifest.json manifest.note entries.ndjson nodes.ndjson checkpoint streams.ndjson policy readings.csv config.json verify.html verify.py README.txt".split()
HEAD = "heads/([0-9]{4})/(([0-9]{4})-[0-9]{2}-[0-9]{2})[.]tlog-proof"
SMALL = {"manifest.json": 1 << 24, "manifest.note": 10**6, "checkpoint": 10**6, "policy": 1 << 16}
def zip_files(f):                                    # -> {name: (offset, size, CRC-32)}; everything behind the files must be what follows from them
    def take(n):
        b = f.read(n)
        if len(b) < n: raise Unreadable("the file ends too early, or is no ZIP")
        return b
    files, central, at, full = {}, b"", 0, 0xFFFFFFFF; end = f.seek(0, 2); f.seek(0)
    while True:
        sig = take(4)
        if sig in (b"age-", b"----") and not at: raise Unreadable("encrypted with age: run  age --decrypt -i YOUR_KEY -o pack.zip FILE  first")
        if sig != b"PK\3\4" and not at: raise Unreadable("not a ZIP file")
        if sig == b"PK\1\2": break
        need(sig == b"PK\3\4", "ZIP: bytes at %d that belong to no file" % at)
        ver, flags, method, time, date, crc, packed, size, nlen, elen = struct.unpack("<HHHHHIIIHH", take(26)); name, extra = take(nlen), take(elen)
        field, big = size, size == full
        if big: size = int.from_bytes(extra[4:12], "little")
        need((ver, flags, method, time, date, packed) == (45 if big else 20, 0, 0, 0, 0x21, field) and extra == (struct.pack("<HHQQ", 1, 16, size, size) if big else b"")
             and (not big or size >= full) and nlen <= 64 and name.isascii() and name.decode() not in files, "ZIP: the header of %.64r is not as a pack's must be" % name)
        wide = [size, size] * big + [at] * (at >= full); v, x = 45 if wide else 20, struct.pack("<HH%dQ" % len(wide), 1, 8 * len(wide), *wide) if wide else b""
        central += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, v, v, 0, 0, 0, 0x21, crc, field, field, nlen, len(x), 0, 0, 0, 0, min(at, full)) + name + x
        files[name.decode()] = f.tell(), size, crc; at = f.tell() + size
        if at > end: raise Unreadable("the file ends too early")
        f.seek(at)
    n, c = len(files), len(central)
    if n >= 0xFFFF or max(c, at) >= full: central += struct.pack("<IQHHIIQQQQIIQI", 0x06064B50, 44, 45, 45, 0, 0, n, n, c, at, 0x07064B50, 0, at + c, 1)
    central += struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, min(n, 0xFFFF), min(n, 0xFFFF), min(c, full), min(at, full), 0); f.seek(at)
    behind = f.read(len(central) + 1)
    if len(behind) < len(central) and central.startswith(behind): raise Unreadable("the file ends too early")
    need(behind == central, "ZIP: the directory is not that of the files"); names = list(files); arts = [k for k in names if re.fullmatch("artefacts/art_[a-z2-7]{26}", k)]
    heads = names[5:5 + n - len(FILES) - len(arts)]
    need(names == FILES[:5] + sorted(heads) + FILES[5:9] + sorted(arts) + FILES[9:] and all((m := re.fullmatch(HEAD, h)) and m[1] == m[3] for h in heads),
         "ZIP: not the files of a pack in their order")
    need(all(files[k][1] <= SMALL[k] for k in SMALL), "ZIP: a file is too large")
    return files
KEYS = set("v position recorded_at aggregate_type aggregate_id sequence event_type event_version salt payload metadata".split())
SHAPES = [("recorded_at", r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z"), ("aggregate_type", "[a-z_]{1,32}"),
          ("aggregate_id", "[A-Za-z0-9._~-]{1,128}"), ("salt", "[A-Za-z0-9_-]{21}[AQgw]"), ("event_type", r"[^\0]+"), ("event_version", r"[^\0]+")]
SHAPES = [(k, re.compile(r).fullmatch) for k, r in SHAPES]
def entry(e, size, where):                           # FORMAT §2
    need(e.keys() == KEYS and type(e["v"]) is int and e["v"] == 1 and type(e["sequence"]) is int and e["sequence"] >= 1 and type(e["payload"]) is type(e["metadata"]) is dict
         and all(type(e[k]) is str and ok(e[k]) for k, ok in SHAPES), where + ": not an entry of format 1")
    need(size <= 65535 and (size <= 4096 or len(jcs(e["metadata"]).encode()) <= 4096), where + ": too large")
def day(n, d): return (datetime.date.fromisoformat(d) + datetime.timedelta(n)).isoformat()
ALLOWED = {"LedgerCreated", "KeyRotated", "WitnessPolicySet", "RetentionPolicySet", "RetentionApplied", "DayClosed"}
class Pack:
    def __init__(self, path, keys, origin, heads, policy_text):
        self.path, self.keys, self.kept, self.found, self.unchecked, self.latest = path, list(keys), [], [], [], ""
        for where, raw in heads:                     # tlog-proofs or plain checkpoints
            h = head(raw, where, True) if raw[:23] == b"c2sp.org/tlog-proof@v1\n" else None
            self.kept.append((where, h, (h["note"], h["origin"], h["tree"], h["hash"]) if h else checkpoint(raw, where)))
        self.logs, self.wits, self.quorum = policy(policy_text) if policy_text else ([], [], None)
        self.keys += self.logs; self.origins = {origin} - {None} | {vkey(k)[0] for k in self.keys} | {k[2][1] for k in self.kept}
        self.days, self.numbers, self.anchors, self.manifest = [], {}, {}, {}
    def bad(self, verdict, words): self.found.append((verdict, words))
    def lines(self, name):                           # every line of a file, hashing it on the way
        at, size, crc = self.files[name]; h, c = hashlib.sha256(), 0; self.f.seek(at); left = size
        while left:
            line = self.f.readline(min(left, 1 << 17)); left -= len(line); h.update(line); c = zlib.crc32(line, c); yield line
        if c != crc: self.bad("TAMPERED", "ZIP: the CRC-32 of %s is wrong" % name)
        if name[:8] != "manifest" and self.manifest["files"].get(name) != {"bytes": size, "sha256": b64(h.digest())}:
            self.bad("TAMPERED", name + ": not the bytes that the manifest names")
    def json(self, name):
        for i, line in enumerate(self.lines(name), 1):
            need(line[-1:] == b"\n", "%s: line %d does not end" % (name, i)); yield parse(line[:-1], "%s line %d" % (name, i)), line[:-1]
    def all(self, name): return b"".join(self.lines(name))
    def run(self):
        self.raw = self.all("manifest.json"); M = self.manifest = parse(self.raw, "manifest.json"); q = M["query"]; self.origin = M["origin"]
        need(M.keys() == set("v origin size query asker software counts files".split()) and M["v"] == 1
             and list(M["files"]) == sorted(set(self.files) - {"manifest.json", "manifest.note"}), "manifest.json: not a manifest of these files")
        kind = [k for k in ("site", "device", "channel") if type(q.get(k)) is str]
        need(len(kind) == 1 and len(q) == (4 if kind == ["channel"] and type(q.get("alarm")) is str else 3) and q["from"] <= q["to"] == day(0, q["to"]) and day(0, q["from"]) == q["from"] and all(type(M[k]) is str
             and len(M[k]) <= n for k, n in (("asker", 128), ("software", 64))), "manifest.json: not a query")
        # heads and the checkpoint: each in itself, then one after the other
        self.heads = [head(self.all(n), n) for n in self.files if n[:6] == "heads/"]
        self.cp, origin, self.size, self.root = checkpoint(self.all("checkpoint"), "checkpoint")
        for o in sorted(self.origins | {origin} | {h["origin"] for h in self.heads}): need(o == self.origin, "the pack is of %s, not of %s" % (self.origin, o))
        need(M["size"] == self.size, "manifest.json: size is not the checkpoint's")
        for a, b in zip([None] + self.heads, self.heads):
            need(b["where"][11:21] == b["date"] and b["low"] <= b["date"] and b["tree"] <= self.size,
                 b["where"] + ": wrong name, or larger than the checkpoint")
            p = b["previous"]
            if not a and b["low"] > q["from"] and p: self.bad("INCOMPLETE", "the head of %s is missing" % q["from"])
            elif a and b["low"] > day(1, a["date"]): self.bad("INCOMPLETE", "a head between %s and %s is missing" % (a["date"], b["date"]))
            elif a:
                need(p == {"date": a["date"], "position": a["size"], "checkpoint_sha256": b64(sha(a["note"][0].encode()))} and day(1, a["date"]) == b["low"]
                     and b["first_position"] == a["size"] + 1, b["where"] + ": does not follow the head of " + a["date"])
        self.inside = [h for h in self.heads if h["low"] <= q["to"] and h["date"] >= q["from"]]
        last = self.inside[-1] if self.inside else {"date": "", "size": 0}
        self.open = None if last["date"] >= q["to"] else max(day(1, last["date"]) if last["date"] else "", q["from"])
        self.end = self.size if self.open else last["size"]; self.covers = last["size"] + 1 if self.inside else 1
        self.maps(); self.entries(q, kind[0]); self.tree(); self.signatures()
        if self.owners(q, kind[0]): self.streams()
        self.copies(q); self.outside(q)
    def maps(self):                                  # streams.ndjson: each line's proof, and all in order
        last, self.map, by = ("", -1), {}, {h["date"]: h for h in self.inside}
        for x, _ in self.json("streams.ndjson"):
            where = "streams.ndjson, %s line %s" % (x.get("date"), x.get("index")); h = by.get(x.get("date")); i, line = x.get("index"), x.get("line")
            need(h and type(i) is int and type(line) is str and (x["date"], i) > last and re.fullmatch("([A-Za-z0-9_-]{22} ){3}[A-Za-z0-9+/]{43}=", line),
                 where + ": out of place")
            need(b64(fold(sha(b"\0" + line.encode() + b"\n"), i, h["streams"]["count"], [unb64(p, 32) for p in x["proof"]], where)) == h["streams"]["root"],
                 where + ": the proof does not lead to the day's map")
            day_lines = self.map.setdefault(x["date"], []); need(not day_lines or day_lines[-1][1] < line, where + ": the map is not sorted"); opened = None
            last = (x["date"], i)
            if "opening" in x:
                need(b64(sha(x["opening"].encode())) == line[69:], where + ": the opening is not what the line commits to")
                m = re.fullmatch("([1-9][0-9]{0,15}) ([1-9][0-9]{0,15}) ([A-Za-z0-9+/]{43}=)\n", x["opening"])
                need(m and int(m[1]) <= int(m[2]), where + ": not an opening")
                opened = (int(m[1]), int(m[2]), unb64(m[3], 32), unb64(x["before"], 32) if "before" in x else None)
            day_lines.append((i, line, opened)); self.numbers["streams"] = self.numbers.get("streams", 0) + 1
    def entries(self, q, kind):
        self.pos, self.seq, self.sid, self.leaf, self.by, self.info, self.rotated = array.array("Q"), array.array("Q"), array.array("l"), bytearray(), {}, [], []
        last, at, units, channel, self.created, stubs, values, self.policy, self.closed, self.applied, self.pruned = -1, "", {}, {}, None, 0, 0, "", [], {}, {}
        self.artefacts = {}; unknown, csv = {}, hashlib.sha256(b"position,recorded_at,received_at,measured_at,time_from,device,key,value,unit\n"); configs, used = set(), {}
        for e, line in self.json("entries.ndjson"):
            p = e.get("position"); where = "entry at position %s" % p; need(type(p) is int and last < p < self.size, where + ": not in order"); last = p
            s, n = -1, 0
            if "leaf_hash" in e:                      # a stub: -1 pruned, -2 withheld
                leaf = unb64(e["leaf_hash"], 32); stubs += 1; s = -2 if e.get("withheld") is True else -1
                need(len(e) == 3 and (s == -2 or type(e.get("pruned_by")) is int), where + ": not a stub")
                if s == -1: self.pruned[p] = e["pruned_by"]
            else:
                entry(e, len(line), where); need(at <= e["recorded_at"], where + ": recorded before the one before it"); at = e["recorded_at"]
                leaf = sha(b"\0" + line)
                T, A, ev, P, md = e["aggregate_type"], e["aggregate_id"], e["event_type"], e["payload"], e["metadata"]; name = T + "/" + A
                if p == 0:
                    need(name == "ledger/main" and ev == "LedgerCreated" and P["origin"] == self.origin, "position 0 is not this ledger's LedgerCreated")
                    self.created, began = P, at[:10]
                if name not in self.by:
                    self.by[name] = len(self.info)
                    self.info.append({"name": name, "first": e["sequence"], "owner": A if T == "readings" else md.get("owner"), "account": md.get("account"),
                         "at": None, "value": None, "events": [], "sites": set()})
                s, n = self.by[name], e["sequence"]; f = self.info[s]; inside = at[:10] >= q["from"]
                if name == "ledger/main":
                    need(ev in ALLOWED and (p == 0) == (ev == "LedgerCreated"), where + ": %s does not belong in a pack" % ev)
                    if ev == "KeyRotated": self.rotated.append((p, P))
                    if ev == "RetentionApplied": self.applied[p] = P["days"]
                    if ev == "DayClosed": self.closed.append(p)
                    if ev in ("LedgerCreated", "WitnessPolicySet"): self.policy = P["policy"]
                elif p >= self.end or T == "readings" and not (inside and at[:10] <= q["to"]): self.bad("TAMPERED", where + ": lies outside what was asked for")
                elif T == "readings":
                    key = channel.get(q.get("channel"), (0, None))[1]; used.setdefault(str(P.get("config")), p)
                    for k in sorted(P["values"]) if ev == "ReadingRecorded" else ():
                        if (A, k) not in units: unknown.setdefault((A, k), p)
                        if kind == "channel" and k != key: continue
                        v = P["values"][k]; values += 1
                        csv.update((",".join([str(p), at, md.get("received_at", ""), P["measured_at"], P["time_from"], A, k, v if type(v) is str else jcs(v),
                             units.get((A, k)) or ""]) + "\n").encode())
                else:                                 # configuration: what was in force at the start, what happened after it
                    new = {k: c["new"] for k, c in P["changes"].items()} if "changes" in P else {"site": P["to_site"]} if ev == "DeviceMoved" else {}
                    configs.add(str(p))
                    if ev == "ChannelRegistered": channel[A] = (P["device"], P["key"]); units[channel[A]] = P.get("unit")
                    if ev == "ChannelChanged" and A in channel and "unit" in new: units[channel[A]] = new["unit"]
                    if (T, ev) == ("artefact", "ArtefactRegistered"):
                        a = self.artefacts[A] = P["artefact"]
                        need(unb64(a["sha256"], 32) and re.fullmatch("([A-Za-z0-9_-]{21}[AQgw])?", a["salt"]) and type(a["size"]) is int and a["size"] >= 0, where + ": not an artefact")
                    if T == "device": f["sites"] |= {P.get("site")} if ev == "DeviceRegistered" else {P.get("to_site")} if ev == "DeviceMoved" else set()
                    if T not in ("device", "channel"): configs.discard(str(p))
                    if inside: f["events"].append({"event_type": ev, "position": p})
                    elif n == 1: f["at"], f["value"] = p, dict(P)
                    elif new and f["value"] is not None: f["at"] = p; f["value"].update(new)
            self.pos.append(p); self.seq.append(n); self.sid.append(s); self.leaf += leaf
        need(self.created, "entries.ndjson: position 0 is not in the pack"); self.csv, self.channel, self.latest = b64(csv.digest()), channel, at[:10]
        if self.open and not self.inside: self.open = max(self.open, began)   # a ledger had no days before its first entry
        for c in sorted(set(used) - configs)[:3]:
            self.bad("INCOMPLETE", "the reading at position %d was made under the configuration at position %s, which is not in the pack" % (used[c], c))
        for (d, k), p in sorted(unknown.items())[:3]:
            self.bad("INCOMPLETE", "the channel %s of %s: no registration before the reading at position %d is in the pack" % (k, d, p))
        self.numbers.update(entries=len(self.pos) - stubs, stubs=stubs, values=values, heads=len(self.heads)); self.leaf = memoryview(self.leaf)
    def hash(self, i): return bytes(self.leaf[32 * i:32 * i + 32])
    def tree(self):                                  # leaves and nodes give the roots; nodes are the fewest that can
        levels, last = {}, (-1, -1)
        for x, _ in self.json("nodes.ndjson"):
            key = (x.get("level"), x.get("index"))
            need(set(x) == {"hash", "index", "level"} and type(key[0]) is type(key[1]) is int and last < key and key[0] < 54, "nodes.ndjson: not in order")
            last = key
            l = levels.setdefault(key[0], [array.array("Q"), bytearray(), 0]); l[0].append(key[1]); l[1] += unb64(x["hash"], 32)
        self.numbers["nodes"] = sum(len(l[0]) for l in levels.values())
        stack, at, i, borders, self.roots = [], 0, 0, sorted({h["tree"] for h in self.heads} | {self.size}), {}
        for b in borders:
            while at < b:                            # the largest whole subtree that starts here and holds neither given leaf nor border
                if i < len(self.pos) and self.pos[i] == at: h, k, i = self.hash(i), 0, i + 1
                else:
                    limit = (min(b, self.pos[i]) if i < len(self.pos) else b) - at; k = limit.bit_length() - 1
                    if at: k = min(k, (at & -at).bit_length() - 1)
                    l = levels.get(k); j = l[2] if l else 0
                    need(l and j < len(l[0]) and l[0][j] == at >> k, "nodes.ndjson: the hash of the %d leaves from position %d is missing" % (1 << k, at))
                    h = bytes(l[1][32 * j:32 * j + 32]); l[2] += 1
                at += 1 << k
                while stack and stack[-1][0] == k: h, k = node(stack.pop()[1], h), k + 1
                stack.append((k, h))
            h = stack[-1][1]
            for _, left in stack[-2::-1]: h = node(left, h)
            self.roots[b] = h
        need(all(l[2] == len(l[0]) for l in levels.values()), "nodes.ndjson: more hashes than are needed")
        need(self.roots[self.size] == self.root, "the entries and nodes do not give the checkpoint's root: a byte of an entry or a hash was changed")
        for h in self.heads:
            need(self.roots[h["tree"]] == h["hash"], h["where"] + ": its root is not that of the pack's entries")
        if self.closed != [h["size"] for h in self.heads]: self.bad("INCOMPLETE", "not every DayClosed of the pack has its head, or the other way round")
    def signatures(self):
        C = self.created; receipt, logs, self.trusted = list(C["receipt_keys"]), list(C["log_keys"]), list(self.keys)
        for p, P in self.rotated:
            text = "daybook/key/v1\n%s\n%s\n%s\n%d\n" % (self.origin, P["role"], P["new"], p); n = note(P["note"].encode(), "KeyRotated at %d" % p)
            pq = P["role"] == "post_quantum"  # such a key signs checkpoints only: a log key or the recovery key vouches for it
            by = signers(n, dict.fromkeys(k for k in [P["old"], P["new"], C["recovery_key"]] + pq * logs if k), "KeyRotated at %d" % p)
            need(n[0] == text and (by if pq else P["new"] in by and len(by) >= 2), "KeyRotated at %d: its note does not hold" % p)
            {"receipt": receipt, "log": logs}.get(P["role"], []).append(P["new"])
            if P["role"] == "log" and any(k in self.trusted and k in by for k in (P["old"], C["recovery_key"])): self.trusted.append(P["new"])
        M = note(self.all("manifest.note"), "manifest.note"); raw = self.raw
        need(M[0] == "daybook/pack/v1\n%s\n%s\n" % (self.origin, b64(sha(raw))) and signers(M, receipt, "manifest.note"),
             "manifest.note: not signed by a receipt key of this ledger, or for another manifest")
        for what, n, size, keys in [("checkpoint", self.cp, self.size, self.trusted or logs)] + [(h["where"], h["note"], h["tree"], self.trusted + logs)
             for h in self.heads]:
            by = signers(n, dict.fromkeys(keys), what); need(by, what + ": not signed by the log's key"); self.logkeys = self.trusted + logs
            for p, P in self.rotated:
                need(P["role"] != "log" or size <= p + 1 or set(by) - {P["old"]}, what + ": signed by a key that was replaced at position %d alone" % p)
    def owners(self, q, kind):                       # whose map lines must be there: FORMAT §5, closed on both sides by neighbours
        ask = q[kind]; asked = self.info[self.by[kind + "/" + ask]] if kind + "/" + ask in self.by else None
        self.mine, self.ids, self.unclosed, self.holes, self.odd = {}, [], set(), False, set()
        if not asked or asked["first"] != 1: return self.bad("INCOMPLETE", "the first entry of %s/%s is not in the pack" % (kind, ask))
        self.ids = [self.channel[ask][0] if kind == "channel" else ask] + [f["name"][7:] for f in self.info if kind == "site" and f["name"][:7] == "device/"
             and ask in f["sites"]]
        if "alarm" in q:                              # the channel is an owner itself: of its alarms, rules, silences and states
            alarm = self.info[self.by["alarm/" + q["alarm"]]] if "alarm/" + q["alarm"] in self.by else None
            if not alarm or alarm["first"] != 1 or alarm["owner"] != ask: return self.bad("INCOMPLETE", "the first entry of alarm/%s is not in the pack" % q["alarm"])
            self.ids.append(ask)
        for f in self.info:
            if f["first"] != 1 and f["name"].split("/")[0] not in ("readings", "ledger"): self.bad("INCOMPLETE", f["name"] + ": sequence 1 is missing")
            elif f["owner"] not in self.ids and f["name"] != "ledger/main": self.bad("TAMPERED", f["name"] + " belongs to nobody who was asked for")
        for h in self.inside:
            lines = self.map.get(h["date"], []); mine = self.mine[h["date"]] = {}; count = h["streams"]["count"]
            for o in self.ids:
                prefix = id16(asked["account"]) + " " + id16(o) + " "; own = [l for l in lines if l[1][:46] == prefix]
                below = [l[0] for l in lines if l[1] < prefix]; above = [l[0] for l in lines if l[1][:46] > prefix]
                chain = [below[-1] if below else -1] + [l[0] for l in own] + [above[0] if above else count]
                if any(b - a != 1 for a, b in zip(chain, chain[1:])):
                    self.unclosed |= {(h["date"], o), h["date"]}
                    self.bad("INCOMPLETE", "%s: the map lines of %s are not closed on both sides: a line is missing" % (h["date"], o))
                for _, line, opened in own:
                    if opened: mine[line[46:68]] = opened
                    else: self.unclosed |= {(h["date"], o), h["date"]}; self.bad("INCOMPLETE", "%s: a map line of %s is not opened" % (h["date"], o))
        return True
    def streams(self):                               # every stream's entries against the days' openings
        ids = {id16(f["name"]): i for i, f in enumerate(self.info)}; self.tokens = {id16("tokens/" + o) for o in self.ids}
        self.names = {id16("readings/" + o): "readings/" + o for o in self.ids}
        self.state, self.lined, at = {}, {}, 0
        for h in self.inside:
            a, b = (bisect.bisect_left(self.pos, h[k]) for k in ("first_position", "size")); self.open_part(at, a); self.day_part(a, b, h, ids); at = b
        self.open_part(at, len(self.pos))
        for p, by in self.pruned.items():
            d = [h for h in self.inside if h["first_position"] <= p < h["size"]]; days = self.applied.get(by) or {"first": "~", "last": ""}
            if not p < by < self.size or days["first"] > (d[0]["low"] if d else days["last"]) or days["last"] < (d[0]["date"] if d else days["first"]):
                self.bad("TAMPERED", "the stub at position %d: no RetentionApplied of its day at position %d" % (p, by)); break
    def groups(self, a, b):
        g = {}
        for i in range(a, b): g.setdefault(self.sid[i], []).append(i)
        g.pop(self.by["ledger/main"], 0); g.pop(-2, 0); return g, len(g.pop(-1, []))
    def advance(self, s, own, n, d):                 # -> sequence and chain value after these entries, the gaps before them
        gaps = []
        for i in own:
            if self.seq[i] <= n:
                self.bad("TAMPERED", "%s: sequence %d stands twice or out of order (position %d)" % (self.info[s]["name"], self.seq[i], self.pos[i])); break
            if self.seq[i] > n + 1: gaps.append((self.info[s]["name"], n + 1, self.seq[i] - n - 1)); d = None
            n = self.seq[i]; d = d and sha(d + self.hash(i))
        return n, d, gaps
    def open_part(self, a, b):                       # before the range, or in days that no head closes
        g, stubs = self.groups(a, b); gaps = []
        for s, own in g.items():
            n, d = self.state.get(s) or ((self.seq[own[0]] - 1, None) if self.info[s]["name"][:9] == "readings/" else (0, ZERO))
            n, d, more = self.advance(s, own, n, d); gaps += more; self.state[s] = n, d
        if sum(x[2] for x in gaps) > stubs: self.bad("INCOMPLETE", "%s: sequence %d is missing" % gaps[0][:2])
        elif gaps: self.holes = True
    def day_part(self, a, b, h, ids):
        g, stubs = self.groups(a, b); date, gaps = h["date"], []
        for S, (first, last, want, before) in self.mine.get(date, {}).items():
            if S in self.tokens: continue
            s = ids.get(S); own = g.pop(s, []); name = self.info[s]["name"] if s is not None else self.names.get(S, "a stream without an entry in the pack")
            prev = self.lined.get(S); start = ZERO if first == 1 else before if not prev else prev[1] if prev[0] == first - 1 else None
            if before and (prev or first == 1): self.bad("TAMPERED", "%s: %s has a chain value before it where none belongs" % (date, name))
            if start is None and not prev: self.bad("INCOMPLETE", "%s: the chain value before sequence %d of %s is not given" % (date, first, name))
            if prev and prev[0] != first - 1:
                self.bad("INCOMPLETE" if prev[0] < first else "TAMPERED", "%s: %s goes on at sequence %d, after %d" % (date, name, first, prev[0]))
            if s is not None and name[:9] != "readings/":
                n, d = self.state.get(s, (0, ZERO))
                if n != first - 1: self.bad("INCOMPLETE" if n < first else "TAMPERED", "%s: %s: sequence %d is missing" % (date, name, n + 1))
                elif d and start and d != start: self.bad("TAMPERED", "%s: the chain of %s before sequence %d does not fit" % (date, name, first))
            if own and (self.seq[own[0]] < first or self.seq[own[-1]] > last):
                self.bad("TAMPERED", "%s: %s has an entry that its map line does not cover (position %d)" % (date, name,
                     self.pos[own[0] if self.seq[own[0]] < first else own[-1]]))
            else:
                n, d, more = self.advance(s, own, first - 1, start); more += [(name, n + 1, last - n)] * (n < last); gaps += more
                if not more and d and d != want:
                    self.bad("TAMPERED", "%s: the chain of %s does not end in what the map says (first position %d)" % (date, name, self.pos[own[0]]))
                if more and name[:9] != "readings/": self.holes = True
            self.lined[S] = self.state[s] = last, want
        for s, own in g.items():
            self.bad("INCOMPLETE" if (date, self.info[s]["owner"]) in self.unclosed else "TAMPERED",
                 "%s: the entry at position %d (%s) is covered by no map line" % (date, self.pos[own[0]], self.info[s]["name"]))
        short = sum(x[2] for x in gaps)
        if gaps and short != stubs: self.bad("INCOMPLETE", "%s: %s: sequence %d is missing" % ((date,) + gaps[0][:2]))
        elif gaps: self.odd.add(date)
        elif stubs and date not in self.unclosed: self.bad("TAMPERED", "%s: %d stubs that no map line covers" % (date, stubs))
    def copies(self, q):                             # what can be derived again from the entries
        for _ in self.lines("readings.csv"): pass
        lacking = any(v == "INCOMPLETE" for v, _ in self.found)
        if lacking: self.unchecked.append("readings.csv and config.json: something is missing, they cannot be derived again")
        elif self.manifest["files"]["readings.csv"]["sha256"] != self.csv: self.bad("TAMPERED", "readings.csv is not what the entries say")
        if self.all("policy") != self.policy.encode(): self.bad("TAMPERED", "policy is not the one in the ledger")
        streams = [{"stream": f["name"], "at_start": f["value"] and {"position": f["at"], "value": f["value"]}, "events": f["events"]}
             for f in sorted(self.info, key=lambda f: f["name"]) if f["name"].split("/")[0] not in ("ledger", "readings", "tokens")]
        config = self.all("config.json")
        if self.holes and not lacking: self.unchecked.append("config.json: entries of configuration are pruned, it cannot be derived again")
        elif not lacking and config != jcs({"from": q["from"], "to": q["to"], "streams": streams}).encode():
            self.bad("TAMPERED", "config.json is not what the entries say")
        arts = [n for n in self.files if n[:10] == "artefacts/"]
        for n in arts:                               # FORMAT §2: SHA-256 of salt and bytes
            a = self.artefacts.get(n[10:]) or {"salt": "", "sha256": "", "size": 0}; h = hashlib.sha256(base64.urlsafe_b64decode(a["salt"] + "=" * (-len(a["salt"]) % 4)))
            for b in self.lines(n): h.update(b)
            if (b64(h.digest()), self.files[n][1]) != (a["sha256"], a["size"]): self.bad("TAMPERED", n + ": not the file that an entry of the pack registers")
        if len(self.artefacts) > len(arts): self.unchecked.append("the files of %d artefacts: only their hashes are in the pack" % (len(self.artefacts) - len(arts)))
        for n in ("verify.html", "verify.py", "README.txt"): self.all(n)
        if self.manifest["counts"] != {k: self.numbers.get(k, 0) for k in ("entries", "stubs", "nodes", "heads", "streams")}:
            self.bad("TAMPERED", "manifest.json: counts are not those of the files")
    def outside(self, q):                            # what you brought: keys, heads, witnesses
        said, late = self.unchecked.append, self.latest
        for where, h, (n, _, size, root) in self.kept:
            if not signers(n, dict.fromkeys(self.logkeys), where): said("the kept head %s: not signed by the log's key, not used" % where); continue
            if size in self.roots and self.roots[size] != root: self.bad("FORKED", "the kept head %s of size %d has another root than the pack" % (where, size))
            elif size in self.roots: self.anchors[size] = "the kept head " + where
            else:
                said("the kept head %s of size %d: %s, it cannot be compared" % (where, size, "larger than the pack's checkpoint" if size > self.size
                     else "no head of the pack has that size"))
            if h: late = max(late, day(1, h["date"]))
        if self.open and self.open <= q["to"] and late > self.open:
            self.bad("INCOMPLETE", "%s was closed (something is dated %s), but its head is not in the pack" % (self.open, late))
        t, since = lambda s: datetime.datetime.fromtimestamp(s, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "unknown"
        for n, size, h in [(h["note"], h["tree"], h) for h in self.heads] + [(self.cp, self.size, None)]:
            by = signers(n, self.wits, h["where"] if h else "checkpoint")
            if self.quorum and self.quorum(set(by)): self.anchors.setdefault(size, "the quorum of your witness policy")
            if not h: continue
            end = datetime.datetime.fromisoformat(day(1, h["date"]) + "T00:00:00+00:00").timestamp(); until = t(min(by.values())) if by else "unknown"
            remark = " ".join(sorted({"EARLY" if x < end else "LATE" for x in by.values() if not end <= x <= end + 86400}))
            if h in self.inside:
                self.days.append({"date": h["date"], "idle_since": h.get("idle_since"), "first_position": h["first_position"], "size": h["size"],
                     "root": h["root"], "written_after": since, "written_before": until, "witnesses": len(by), "remark": remark})
            since = until
        if not self.keys: self.bad("UNANCHORED", "no key of the log from outside the pack was given")
        if self.open: self.bad("UNANCHORED", "no head closes %s yet" % self.open); said("completeness of %s to %s" % (self.open, q["to"]))
        if max(self.anchors, default=0) < self.covers: self.bad("UNANCHORED", "no kept head and no quorum of trusted witnesses covers what was asked for")
        if self.pruned: self.bad("PARTIAL", "%d entries are pruned: their hashes are there, their contents are gone" % len(self.pruned))
        if -2 in self.sid: said("%d withheld entries (access tokens): only their hashes are in the pack" % sum(s == -2 for s in self.sid))
        for d in sorted(self.odd): said("%s: the chains of streams with pruned entries; only their number was checked" % d)
        if "site" in q: said("that no further device was at the site")
        for x in ("whether the last entries of configuration before the range were left out, of streams without an entry in it", "that no further KeyRotated, WitnessPolicySet or RetentionPolicySet exists, and that pruning kept to the retention and to holds",
                  "time stamps (.tsr, .ots), and signatures other than Ed25519", "that the verify.html and verify.py in the pack are honest: use copies of your own", "that a sensor told the truth"): said(x)
    def report(self):
        try:
            with open(self.path, "rb", 1 << 20) as self.f: self.files = zip_files(self.f); self.run()
        except Problem as e: self.bad("TAMPERED", str(e))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, struct.error) as e:
            self.bad("TAMPERED", "not of the form that the format demands (%s: %s)" % (type(e).__name__, e))
        verdict = next((v for v in ("TAMPERED", "FORKED", "INCOMPLETE", "UNANCHORED", "PARTIAL") if any(v == f[0] for f in self.found)), "VERIFIED")
        return {"verdict": verdict, "exit": EXIT[verdict], "found": [{"verdict": v, "words": w} for v, w in self.found], "asked": self.manifest.get("query"), "asker": self.manifest.get("asker"), "software": self.manifest.get("software"),
                "origin": self.manifest.get("origin"), "size": getattr(self, "size", None), "root": b64(getattr(self, "root", b"")), "numbers": self.numbers, "days": self.days, "anchors": [{"size": s, "by": w} for s, w in sorted(self.anchors.items())], "not_checked": self.unchecked}
def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter); a.add_argument("pack")
    for o in ("--key", "--head"): a.add_argument(o, action="append", default=[])
    for o in ("--origin", "--policy"): a.add_argument(o)
    for o in ("--json", "--allow-partial"): a.add_argument(o, action="store_true")
    a = a.parse_args()
    try:
        keys = [l for k in a.key for l in (open(k, encoding="utf-8").read().split("\n") if os.path.exists(k) else [k]) if l.strip()]
        r = Pack(a.pack, [k.strip() for k in keys], a.origin, [(os.path.basename(h), open(h, "rb").read()) for h in a.head], a.policy
             and open(a.policy, encoding="utf-8").read()).report()
    except (OSError, Unreadable, Problem, ValueError, KeyError, IndexError) as e: print("unreadable: %s" % e, file=sys.stderr); return 2
    if a.json: print(json.dumps(r, ensure_ascii=False, indent=1))
    else:
        print("%s\n\nasked: %s\norigin %s, size %s, root %s\n%s\n" % (r["verdict"], json.dumps(r["asked"]), r["origin"], r["size"], r["root"],
             ", ".join("%s %s" % (v, k) for k, v in r["numbers"].items())))
        for f in r["found"]: print("%s: %s" % (f["verdict"], f["words"]))
        for x in r["anchors"]: print("covered up to size %d by %s" % (x["size"], x["by"]))
        for d in r["days"]:
            print("%s  positions %d to %d, written between %s and %s, %d witnesses %s" % (d["date"], d["first_position"], d["size"] - 1, d["written_after"],
                 d["written_before"], d["witnesses"], d["remark"]))
        for n in r["not_checked"]: print("not checked:", n)
    return 0 if r["verdict"] == "PARTIAL" and a.allow_partial else r["exit"]
if __name__ == "__main__": sys.exit(main())
