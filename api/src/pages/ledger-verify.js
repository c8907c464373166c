// -- the live log, checked in this browser: what stands above is shared with verify.html, which packs carry
/* It reads what is public (checkpoint, hash tiles, heads) from where the page came from, and sends nothing but these questions. */
const TILE = 256,
  AHEAD = 6, // tiles asked for at once
  LAST_SEEN = "daybook-seen:";
class Unreachable extends Error {} // no verdict: the log does not answer
class Missing extends Error {} // the log answers that something is not there

async function ask(get, path) {
  let answer;
  try {
    answer = await get(path);
  } catch (e) {
    throw new Unreachable(path + ": " + e.message);
  }
  if (answer.status === 404) throw new Missing(path + " is not there");
  if (!answer.ok) throw new Unreachable(path + ": the log answers " + answer.status);
  return new Uint8Array(await answer.arrayBuffer());
}
function tilePath(level, index, width) {
  let n = String(index % 1000).padStart(3, "0");
  for (let rest = Math.floor(index / 1000); rest; rest = Math.floor(rest / 1000)) n = "x" + String(rest % 1000).padStart(3, "0") + "/" + n;
  return "/log/tile/" + level + "/" + n + (width < TILE ? ".p/" + width : "");
}
// The tree as it grows, leaf by leaf: the roots of its perfect subtrees, the largest first.
class Tree {
  constructor() {
    this.size = 0;
    this.peaks = [];
    this.upper = []; // by tile level: hashes of complete tiles below
  }
  push(leaf) {
    let h = leaf,
      level = 0;
    for (let n = this.size; n % 2 === 1; n = (n - 1) / 2) {
      h = node(this.peaks.pop(), h);
      if (++level % 8 === 0) (this.upper[level / 8] = this.upper[level / 8] || new Grow(Uint8Array, 32)).push(h);
    }
    this.peaks.push(h);
    this.size++;
  }
  root() {
    let h = null;
    for (let i = this.peaks.length; i--;) h = h ? node(this.peaks[i], h) : this.peaks[i];
    return h || sha();
  }
}
// RFC 6962 section 2.1.2: that the tree of size n extends that of size m
function consistent(m, n, proof, before, after) {
  if (m === n) return !proof.length && same(before, after);
  if (m > n || m < 1) return false;
  const path = proof.slice(),
    half = (x) => Math.floor(x / 2);
  let f = m - 1,
    s = n - 1;
  while (f % 2) {
    f = half(f);
    s = half(s);
  }
  let a = f ? path.shift() : before,
    b = a;
  if (!a) return false;
  for (const p of path) {
    if (!s) return false;
    if (f % 2 || f === s) {
      a = node(p, a);
      b = node(p, b);
      while (f && f % 2 === 0) {
        f = half(f);
        s = half(s);
      }
    } else b = node(b, p);
    f = half(f);
    s = half(s);
  }
  return s === 0 && same(a, before) && same(b, after);
}
const ORDER = ["TAMPERED", "FORKED", "TRUNCATED", "INCOMPLETE", "UNANCHORED"];
class Live {
  // o: get (path -> Response), key, hint, policy, kept [{name, text}], last (text or null), own, progress
  constructor(o) {
    Object.assign(this, { own: !!o.ownEd25519, numbers: {}, found: [], done: [], unchecked: [], anchors: [], kept: [], confirmed: 0 }, o);
    const p = o.policy && o.policy.trim() ? policy(o.policy) : { logs: [], wits: [], quorum: null };
    this.wits = p.wits;
    this.quorum = p.quorum;
    this.given = (o.key || "").split(/\s+/).filter(Boolean).concat(p.logs);
    this.given.forEach(vkey);
    this.keys = this.given.length ? this.given : [o.hint].filter(Boolean);
    this.brought = (o.kept || []).map((k) => this.bring(k.name, k.text));
    if (o.last) this.brought.push({ ...this.bring("what this browser saw last", o.last), seen: true });
    this.progress = o.progress || (() => {});
  }
  bring(name, t) {
    const h = t.startsWith("c2sp.org/tlog-proof@v1\n") ? head(bytes(t), name, true) : checkpoint(bytes(t), name);
    return { ...h, where: name };
  }
  bad(verdict, words) {
    this.found.push({ verdict, words });
  }
  async signed(c, where) {
    const names = this.keys.map(vkey).map((k) => k.name);
    need(names.includes(c.origin), where + ": it is of " + c.origin + ", and the key is of " + names.join(", "));
    const by = await signers(c.note, this.keys, where, this);
    need(
      [...by.keys()].some((k) => vkey(k).name === c.origin && vkey(k).kind === 1),
      where + ": it is not signed with " + (this.given.length ? "the key that you gave" : "this page's own key"),
    );
  }
  async latest() {
    const text = await ask(this.get, "/log/checkpoint");
    const c = checkpoint(text, "the log's checkpoint");
    await this.signed(c, "the log's checkpoint");
    this.cp = c;
    this.text = STRICT.decode(text);
    this.done.push(
      "the signature of the log's checkpoint: " + count(c.tree) + " entries" + (this.given.length ? ", with the key that you gave" : ", with this page's own key"),
    );
  }
  async usable() {
    // what was brought is the asker's own: where it does not hold, there is nothing to compare with, and no accusation
    for (const k of this.brought) {
      try {
        await this.signed(k, k.where);
      } catch (e) {
        throw e instanceof Problem ? new Unreadable("what you brought cannot be used: " + e.message) : e;
      }
    }
  }
  compare(k, root) {
    if (same(root, k.hash)) {
      this.anchors.push({ size: k.tree, by: k.where });
      return true;
    }
    this.bad("FORKED", k.where + " and this log have two different histories of the first " + count(k.tree) + " entries. Keep both: signed twice, they are the proof");
    return false;
  }
  behind() {
    for (const k of this.brought)
      if (k.tree > this.cp.tree)
        this.bad("TRUNCATED", "the log has " + count(this.cp.tree) + " entries, and " + k.where + " is signed over " + count(k.tree) + ": entries were there and are not any more");
  }
  async listed() {
    const files = [];
    let cursor = null;
    do {
      const page = JSON.parse(STRICT.decode(await ask(this.get, "/v1/heads?limit=366" + (cursor ? "&cursor=" + encodeURIComponent(cursor) : ""))));
      for (const h of page.data) {
        need(isText(h.url) && /^\/heads\/\d{4}\/\d{4}-\d\d-\d\d\.tlog-proof$/.test(h.url), "the list of heads: " + String(h.url).slice(0, 80));
        files.push(h.url);
      }
      need(!page.has_more || (isText(page.next_cursor) && page.next_cursor !== cursor && files.length < 40000), "the list of heads does not end");
      cursor = page.has_more ? page.next_cursor : null;
    } while (cursor);
    return files.reverse();
  }
  async readHeads(files) {
    this.heads = [];
    let before = null;
    for (let i = 0; i < files.length; i += AHEAD) {
      const some = await Promise.all(files.slice(i, i + AHEAD).map((f) => ask(this.get, f)));
      for (let j = 0; j < some.length; j++) {
        const name = "the head of " + files[i + j].slice(12, 22),
          h = head(some[j], name, false);
        need(h.date === files[i + j].slice(12, 22), name + ": it is of " + h.date);
        need(h.origin === this.cp.origin, name + ": it is of another log");
        await this.signed(h, name);
        this.follows(h, before);
        this.heads.push(h);
        before = h;
        this.progress("heads", this.heads.length, files.length);
      }
    }
    for (const k of this.brought)
      if (k.date && k.tree <= this.cp.tree && !this.heads.some((h) => h.date === k.date))
        this.bad("INCOMPLETE", "the log does not give a head of " + k.date + ", and you have one");
    if (this.heads.length)
      this.done.push(
        "the heads of " + this.heads[0].low + " to " + before.date + ", each by itself: signature, proof, counts; and that each names the one before, without a gap",
      );
  }
  follows(h, before) {
    const p = h.p.previous;
    if (!before) {
      if (p !== null || h.first !== 0) this.bad("INCOMPLETE", "the first head that the log gives, of " + h.date + ", is not the ledger's first: heads before it are missing");
      return;
    }
    if (p === null || p.date !== before.date) {
      this.bad("INCOMPLETE", "the head of " + h.date + " follows that of " + (p && p.date) + ", and the log gives that of " + before.date + " before it");
      return;
    }
    need(
      p.position === before.size && p.checkpoint_sha256 === b64(sha(bytes(before.note.text))) && h.first === before.size + 1 && h.low === day(1, before.date),
      h.where + ": it does not continue " + before.where,
    );
  }
  async tree() {
    const size = this.cp.tree,
      tiles = Math.ceil(size / TILE),
      tree = new Tree(),
      wanted = new Map(), // size -> what to do with the root there
      leaves = new Map(),
      at = (n, f) => wanted.set(n, (wanted.get(n) || []).concat(f)),
      wrong = [];
    for (const h of this.heads) {
      if (h.tree > size) {
        this.bad("TRUNCATED", "the log has " + count(size) + " entries, and " + h.where + " is signed over " + count(h.tree));
        continue;
      }
      at(h.tree, (r) => same(r, h.hash) || wrong.push([h.tree, h.where]));
      leaves.set(h.size, h);
    }
    const kept = [];
    for (const k of this.brought) if (k.tree && k.tree <= size) at(k.tree, (r) => kept.push([k, r.slice()]));
    const ahead = [],
      fetchTile = (i) => {
        const width = Math.min(TILE, size - i * TILE);
        return ask(this.get, tilePath(0, i, width)).then(
          (b) => ({ b, width }),
          (e) => ({ e }),
        );
      };
    for (let i = 0; i < Math.min(AHEAD, tiles); i++) ahead.push(fetchTile(i));
    for (let i = 0; i < tiles; i++) {
      const { b, e, width } = await ahead.shift();
      if (e) throw e;
      if (i + AHEAD < tiles) ahead.push(fetchTile(i + AHEAD));
      need(b.length === 32 * width, "tile " + i + " (positions from " + count(i * TILE) + ") has " + b.length + " bytes and not " + 32 * width);
      for (let j = 0; j < width; j++) {
        const leaf = b.subarray(32 * j, 32 * j + 32),
          h = leaves.get(tree.size);
        if (h && !same(leaf, h.leaf)) wrong.push([tree.size + 1, h.where]);
        tree.push(leaf.slice());
        for (const f of wanted.get(tree.size) || []) f(tree.root());
      }
      this.progress("tiles", tree.size, size);
    }
    const holds = same(tree.root(), this.cp.hash);
    if (holds) {
      kept.forEach(([k, r]) => this.compare(k, r));
      for (const [n, where] of wrong) this.bad("TAMPERED", where + " is not of this tree: another root or closing entry at " + count(n));
      this.done.push(count(tiles) + " hash tiles, up to the root that is signed");
      if (this.heads.length) this.done.push("the root at each head, and that its closing entry is in the tree at its position");
    } else {
      const first = wrong.map(([n]) => n).sort((a, b) => a - b)[0],
        good = this.heads.filter((h) => h.tree < (first || Infinity)).map((h) => h.tree);
      this.bad("TAMPERED", "the hash tiles do not give the root that is signed" + (first ? ": something between position " + count(Math.max(0, ...good)) + " and " + count(first) + " was changed" : ""));
    }
    await this.upper(tree, size);
  }
  async upper(tree, size) {
    // tiles above: what others may rely on who do not fetch every leaf
    let n = 0;
    for (let level = 1; tree.upper[level]; level++) {
      const own = tree.upper[level];
      for (let i = 0; i * TILE < own.length; i++, n++) {
        const width = Math.min(TILE, own.length - i * TILE),
          b = await ask(this.get, tilePath(level, i, width)),
          span = TILE ** level;
        need(b.length === 32 * width, "tile " + level + "/" + i + " has another length");
        for (let j = 0; j < width; j++)
          if (!same(b.subarray(32 * j, 32 * j + 32), own.hash(i * TILE + j))) {
            const from = (i * TILE + j) * span;
            this.bad("TAMPERED", "the tiles contradict each other about positions " + count(from) + " to " + count(Math.min(size, from + span) - 1));
            break;
          }
      }
    }
    if (n) this.done.push("the tiles above them: " + count(n));
  }
  async witnesses() {
    if (!this.quorum) return;
    for (const c of [...this.heads, { ...this.cp, where: "the log's checkpoint" }]) {
      const by = await signers(c.note, this.wits, c.where, this);
      if (this.quorum(new Set(by.keys()))) this.anchors.push({ size: c.tree, by: "the quorum of your witness policy, on " + c.where });
    }
    this.done.push("the cosignatures of your witnesses");
  }
  async again() {
    // a short look, for who watches: the signature, and that the log continues what was seen
    await this.latest();
    await this.usable();
    this.behind();
    for (const k of this.brought.filter((k) => k.tree <= this.cp.tree)) {
      if (k.tree === this.cp.tree || !k.tree) {
        if (k.tree) this.compare(k, this.cp.hash);
        continue;
      }
      const p = JSON.parse(STRICT.decode(await ask(this.get, "/v1/proofs/consistency?from=" + k.tree + "&to=" + this.cp.tree)));
      const path = Array.isArray(p.proof) ? p.proof.map((h) => unb64(h, 32)) : [];
      if (consistent(k.tree, this.cp.tree, path, k.hash, this.cp.hash)) this.anchors.push({ size: k.tree, by: k.where });
      else this.bad("FORKED", "the log cannot show that it continues " + k.where + " (" + count(k.tree) + " entries)");
    }
    this.done.push("that the log continues what was seen, by a consistency proof");
    this.unchecked.push("tiles and heads: this was a short look");
  }
  async whole() {
    const files = await this.listed();
    await this.latest();
    await this.usable();
    this.behind();
    await this.readHeads(files);
    await this.tree();
    await this.witnesses();
  }
  async report(short) {
    const started = Date.now();
    let verdict = null;
    try {
      await (short ? this.again() : this.whole());
    } catch (e) {
      if (e instanceof Missing) this.bad("INCOMPLETE", e.message);
      else if (e instanceof Unreadable || e instanceof Unreachable) {
        verdict = "UNREADABLE";
        this.bad(verdict, e.message);
      } else if (e instanceof Problem) this.bad("TAMPERED", e.message);
      else if (e instanceof TypeError || e instanceof RangeError || e instanceof SyntaxError) this.bad("TAMPERED", "not of the form that the format demands (" + e.message + ")");
      else throw e;
      this.unchecked.push("everything after the point where the check had to stop");
    }
    const c = this.cp;
    if (c && !this.given.length) this.bad("UNANCHORED", "no key from elsewhere was given: this page's own key is only a hint, whoever changed the log would change it too");
    if (c && !this.anchors.length && this.given.length) this.bad("UNANCHORED", "nobody outside confirms it yet: bring a head or checkpoint that you kept, or come again; this browser remembers what it saw");
    this.confirmed = Math.max(0, ...this.anchors.map((a) => a.size));
    if (c && this.confirmed && this.confirmed < c.tree)
      this.unchecked.push("whether anybody else was shown the same entries from " + count(this.confirmed) + " on: they continue what you brought, and what you keep now confirms them next time");
    if (!this.quorum && c) this.unchecked.push("cosignatures of witnesses: no policy was given");
    this.unchecked.push(
      "the entries themselves: only their hashes are public",
      "that a sensor told the truth",
      "that this page is honest: it comes from whoever runs the log. daybook-verify, or any C2SP tool of your own, asks the same questions",
    );
    verdict = verdict || ORDER.find((v) => this.found.some((f) => f.verdict === v)) || "VERIFIED";
    return {
      verdict,
      found: this.found,
      origin: c ? c.origin : null,
      size: c ? c.tree : null,
      root: c ? b64(c.hash) : null,
      confirmed: this.confirmed,
      anchors: this.anchors,
      checked: this.done,
      not_checked: this.unchecked,
      ed25519: ed25519With,
      seconds: (Date.now() - started) / 1000,
      checkpoint: this.text || null,
      key: this.given.length > 0,
    };
  }
}
async function verifyLog(options, short) {
  let live;
  try {
    live = new Live(options);
  } catch (e) {
    if (!(e instanceof Problem)) throw e;
    return { verdict: "UNREADABLE", found: [{ verdict: "UNREADABLE", words: "what you brought cannot be used: " + e.message }], anchors: [], checked: [], not_checked: ["everything"], size: null, seconds: 0 };
  }
  return live.report(short);
}
const count = (n) => Number(n).toLocaleString("en").replace(/,/g, "\u202f");

// -- the page
(() => {
  const form = document.getElementById("check-log");
  if (!form) return;
  const $ = (id) => document.getElementById(id),
    origin = form.dataset.origin,
    memory = LAST_SEEN + origin;
  SHAPES.TRUNCATED = '<path d="M21 4h22l17 17v22L43 60H21L4 43V21z"/><path d="M20 20v24M28 32h18M40 26l6 6-6 6"/>';
  const SAYS = {
    VERIFIED: ["good", "The log is whole as far as hashes can tell, signed with your key, and continues what you brought."],
    TAMPERED: ["bad", "Something does not hold. Do not rely on what this log says."],
    FORKED: ["bad", "This is not the log whose head you kept: there are two histories, and both are signed."],
    TRUNCATED: ["bad", "The log is smaller than what was signed before: something was cut off."],
    INCOMPLETE: ["warn", "What is here holds, but something that belongs to it is not given."],
    UNANCHORED: ["blue", "Nothing is wrong, but nothing that you brought confirms it."],
    UNREADABLE: ["warn", "There is no verdict: something could not be read."],
  };
  const remembered = () => {
    try {
      return localStorage.getItem(memory);
    } catch (e) {
      return null;
    }
  };
  const remember = (text) => {
    try {
      if (text === null) localStorage.removeItem(memory);
      else localStorage.setItem(memory, text);
    } catch (e) {
      /* this browser keeps nothing: the next visit is a first one */
    }
  };
  const seen = () => {
    const text = remembered();
    let size = null;
    try {
      size = text && checkpoint(bytes(text), "seen").tree;
    } catch (e) {
      size = null;
    }
    $("seen").textContent = text ? "This browser last saw " + (size === null ? "something that it cannot read" : count(size) + " entries") + ", and compares." : "This browser has not seen this log before.";
    $("forget").hidden = !text;
  };
  const el = (tag, text, cls) => {
    const e = document.createElement(tag);
    if (text) e.textContent = text;
    if (cls) e.className = cls;
    return e;
  };
  const list = (items) => {
    const u = el("ul");
    items.forEach((x) => u.append(el("li", x)));
    return u;
  };
  const download = (name, text) => {
    const a = el("a", name, "button");
    a.href = "data:text/plain;charset=utf-8," + encodeURIComponent(text);
    a.download = name;
    return a;
  };
  const show = (r) => {
    const box = $("verdict"),
      [tone, words] = SAYS[r.verdict];
    box.replaceChildren();
    const v = el("div", null, "log-verdict " + tone);
    v.tabIndex = -1;
    v.innerHTML =
      '<svg viewBox="0 0 64 64" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="5" stroke-linecap="round" stroke-linejoin="round">' + SHAPES[r.verdict] + "</svg>";
    const said = el("div");
    said.append(el("h2", r.verdict), el("p", words));
    v.append(said);
    box.append(v);
    if (r.found.length) box.append(el("h3", r.verdict === "UNANCHORED" ? "Why not more" : "What was found"), list(r.found.slice(0, 50).map((f) => f.verdict + ": " + f.words)));
    if (r.size !== null) box.append(el("p", count(r.size) + " entries, root " + r.root + (r.confirmed ? ", confirmed from outside up to " + count(r.confirmed) : "") + ". " + r.seconds.toFixed(1) + " s.", "break"));
    if (r.anchors.length) box.append(el("h3", "What confirms it"), list(r.anchors.map((a) => "up to " + count(a.size) + ": " + a.by)));
    box.append(el("h3", "What was checked"), r.checked.length ? list(r.checked) : el("p", "Nothing."), el("h3", "What was not checked"), list(r.not_checked));
    const keep = el("p");
    if (r.checkpoint) {
      keep.append(download("checkpoint-" + r.size, r.checkpoint));
      if (ORDER.slice(0, 3).includes(r.verdict) && remembered()) keep.append(" ", download("checkpoint-seen-before", remembered()));
      box.append(el("h3", "To keep, in a place of your own"), keep);
    }
    $("report").textContent = JSON.stringify(r, null, 1);
    return v;
  };
  let busy = false,
    timer = null;
  const options = async () => ({
    get: (path) => fetch(path, { credentials: "omit", cache: "no-store", redirect: "error" }),
    key: $("vkey").value,
    hint: form.dataset.key,
    policy: $("policy").value,
    kept: await Promise.all([...$("kept").files].map(async (f) => ({ name: f.name, text: await f.text() }))),
    last: remembered(),
    ownEd25519: form.dataset.own === "yes",
    progress: (what, done, all) => {
      $("bar").max = all;
      $("bar").value = done;
      $("state").textContent = what === "heads" ? "Head " + count(done) + " of " + count(all) : count(done) + " of " + count(all) + " entries’ hashes";
    },
  });
  const check = async (short) => {
    if (busy) return null;
    busy = true;
    $("go").disabled = true;
    $("run").hidden = false;
    $("report").textContent = "";
    $("state").textContent = "Asking for checkpoint and heads";
    let r;
    try {
      r = await verifyLog(await options(), short);
      // What contradicts is kept apart, and what was seen stays.
      if (r.checkpoint && r.key && ["VERIFIED", "UNANCHORED"].includes(r.verdict)) remember(r.checkpoint);
      const v = show(r);
      if (!short) {
        v.focus({ preventScroll: true });
        v.scrollIntoView({ block: "nearest" });
      }
    } catch (e) {
      $("state").textContent = "This page failed, which says nothing about the log: " + e.message;
    }
    $("run").hidden = true;
    $("go").disabled = false;
    busy = false;
    seen();
    return r;
  };
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    check(false);
  });
  $("forget").onclick = () => {
    remember(null);
    seen();
  };
  $("watch").onchange = () => {
    clearInterval(timer);
    timer = $("watch").checked ? setInterval(() => check(true), 60000 * Number($("watch").dataset.minutes)) : null;
    if (timer) check(true);
  };
  window.daybookLedger = { verifyLog, consistent };
  seen();
})();
