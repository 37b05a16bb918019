"use strict";
// Rows of an audit log. INVARIANT: what comes from the log is only ever set as text.
(async () => {
  const CHUNK = 250, BUCKETS = 72;
  const $ = (id) => document.getElementById(id);
  const packed = Uint8Array.from(atob($("data").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = JSON.parse(await new Response(unpacked).text());

  const make = (tag, className, ...children) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);
    return made;
  };
  // What would steer the text around it (bidirectional marks, controls, unseen letters) is written out.
  const plain = (text) => text.replace(/(?! |\n)[\p{C}\p{Z}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

  const DENIED = new Set(["denied", "declined", "blocked"]);
  const RAN = new Set(["ok", "failed", "timeout", "killed", "lost", "running"]);
  const ran = (e) => e.kind === "call" && RAN.has(e.status);
  const KINDS = [
    ["ran", "ran", ran],
    ["changed", "changed files", (e) => e.changed.length > 0 && !e.held.length],
    ["network", "reached out", (e) => e.contacts.some((c) => c[1] === "allowed")],
    ["denied", "denied", (e) => DENIED.has(e.status) || e.contacts.some((c) => c[1] === "refused")],
    ["approved", "answered by people", (e) => e.approved.length > 0],
    ["waits", "waited for a yes", (e) => e.status === "pending"],
    ["unsafe", "outside the sandbox", (e) => ran(e) && e.profile === "unconfined"],
    ["unproven", "not proven", (e) => e.trust !== "signed"],
  ];
  const STATES = {
    ok: ["ran", "s-ok"], failed: ["failed", "s-warn"], timeout: ["timed out", "s-warn"], killed: ["killed", "s-warn"],
    denied: ["denied", "s-bad"], declined: ["declined", "s-bad"], blocked: ["blocked", "s-bad"],
    pending: ["waits", "s-warn"], running: ["runs", "s-info"], lost: ["lost", "s-lost"],
    approved: ["approved", "s-ok"], consumed: ["approved", "s-ok"], expired: ["expired", "s-warn"],
  };
  const TRUST = {
    signed: "records, signed", recovered: "kept after a crash, not signed when written",
    unsigned: "not signed yet: nothing proves it", broken: "not proven: the log is not what was signed",
  };

  for (const e of data.entries) {
    e.text = [e.what, e.actor, e.session, e.tool, e.family, e.status, e.message, e.profile, ...e.rules, ...e.approved,
      ...e.changed.map((c) => c[1]), ...e.contacts.map((c) => c[0]), ...e.seqs].join("\n").toLowerCase();
  }

  // --- the picture on top

  const spans = {};
  for (const e of data.entries) spans[e.trust] = (spans[e.trust] || 0) + e.seqs.length;
  for (const [trust, meaning] of Object.entries(TRUST)) {
    if (!spans[trust]) continue;
    const part = make("i", `t-${trust}`);
    part.style.flex = spans[trust];
    $("bar").append(part);
    $("key").append(make("span", "", make("i", `t-${trust}`), `${spans[trust].toLocaleString("en")} ${meaning}`));
  }
  if (data.records > data.entries.reduce((sum, e) => sum + e.seqs.length, 0)) {
    $("key").append(make("span", "", `of ${data.records.toLocaleString("en")} records in the log, of which ${data.signed.toLocaleString("en")} are signed`));
  }
  if (data.leftOut) $("key").append(make("span", "", `${data.leftOut.toLocaleString("en")} older ones are not on this page`));
  if (data.unreadable) $("key").append(make("span", "", `${data.unreadable} lines are no records`));

  const pressed = new Set();
  for (const [name, label, is] of KINDS) {
    const count = data.entries.filter(is).length;
    if (!count && (name === "unsafe" || name === "unproven" || name === "waits")) continue;
    const button = make("button", `k-${name}${count ? "" : " none"}`, make("b", "", count.toLocaleString("en")), make("span", "", label));
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      const on = !pressed.delete(name);
      if (on) pressed.add(name);
      button.setAttribute("aria-pressed", String(on));
      draw();
    });
    $("kinds").append(button);
  }

  const times = data.entries.map((e) => Date.parse(e.ts)).filter((t) => !Number.isNaN(t));
  const first = times.reduce((a, b) => Math.min(a, b), Infinity), last = times.reduce((a, b) => Math.max(a, b), -Infinity);
  const iso = (t) => new Date(t).toISOString();
  if (times.length > 1 && last > first) {
    const width = (last - first + 1) / BUCKETS;
    for (const [name, label, is] of KINDS.slice(0, 5)) {
      const counts = new Array(BUCKETS).fill(0);
      for (const e of data.entries) if (is(e)) counts[Math.floor((Date.parse(e.ts) - first) / width)]++;
      const most = Math.max(...counts), lane = make("div", "lane");
      if (!most) continue;
      counts.forEach((count, at) => {
        const cell = make("i", count ? "on" : "");
        if (count) {
          const colour = { denied: "bad", changed: "info", network: "info" }[name] || "ok";
          cell.style.background = `color-mix(in srgb, var(--${colour}) ${30 + Math.round((70 * count) / most)}%, transparent)`;
          cell.title = `${count} ${label}, ${iso(first + at * width).slice(0, 16).replace("T", " ")}`;
          cell.addEventListener("click", () => {
            $("from").value = iso(first + at * width).slice(0, 19);
            $("to").value = iso(Math.ceil((first + (at + 1) * width) / 1000) * 1000).slice(0, 19);
            draw();
          });
        }
        lane.append(cell);
      });
      $("lanes").append(make("span", "", label), lane);
    }
    const ends = [first, last].map((t) => make("span", "", iso(t).slice(0, 16).replace("T", " ")));
    $("lanes").append(make("span"), make("div", "axis", ...ends));
  }

  // --- the filters

  const choices = (id, values) => {
    const found = [...new Set(values.filter(Boolean))].sort();
    for (const value of found) {
      const option = make("option", "", value.length > 48 ? `${value.slice(0, 47)}…` : value);
      option.value = value;
      $(id).append(option);
    }
    $(id).parentElement.hidden = found.length < (id === "host" ? 1 : 2);
  };
  choices("actor", data.entries.map((e) => e.actor));
  choices("session", data.entries.map((e) => e.session));
  choices("host", data.entries.flatMap((e) => e.contacts.map((c) => c[0])));

  const wanted = () => {
    const text = $("text").value.trim().toLowerCase(), from = $("from").value.trim(), to = $("to").value.trim();
    const kinds = KINDS.filter(([name]) => pressed.has(name)).map(([, , is]) => is);
    return data.entries.filter((e) =>
      (!kinds.length || kinds.some((is) => is(e))) && (!text || e.text.includes(text)) &&
      (!$("actor").value || e.actor === $("actor").value) && (!$("session").value || e.session === $("session").value) &&
      (!$("host").value || e.contacts.some((c) => c[0] === $("host").value)) &&
      (!from || e.ts >= from) && (!to || e.ts < to));
  };

  // --- the rows

  let shown = [], drawn = 0, day = "", trust = "signed";
  const more = () => {
    const part = document.createDocumentFragment();
    for (const e of shown.slice(drawn, drawn + CHUNK)) {
      if (e.ts.slice(0, 10) !== day) part.append(make("div", "day", (day = e.ts.slice(0, 10))));
      if (e.trust !== trust && (trust = e.trust) !== "signed") part.append(make("div", `edge ${trust}`, `From here: ${TRUST[trust]}`));
      part.append(row(e));
    }
    drawn = Math.min(drawn + CHUNK, shown.length);
    $("rows").append(part);
    $("more").hidden = drawn >= shown.length;
  };
  const draw = () => {
    shown = wanted();
    drawn = 0; day = ""; trust = "signed";
    $("rows").replaceChildren();
    $("count").textContent = `${shown.length.toLocaleString("en")} of ${data.entries.length.toLocaleString("en")} entries`;
    more();
  };

  const chip = (text, kind) => make("span", `chip ${kind || ""}`, text);
  const row = (e) => {
    const [state, colour] = STATES[e.status] || [e.kind === "event" ? e.family : e.status, "s-none"];
    const chips = make("span", "chips");
    if (e.held.length) chips.append(chip(`${e.changeCount} held`, "c-warn"));
    else if (e.changed.length) chips.append(chip(`${e.changeCount} changed`, "c-info"));
    const reached = e.contacts.filter((c) => c[1] === "allowed"), refused = e.contacts.filter((c) => c[1] !== "allowed");
    if (reached.length) chips.append(chip(reached.length > 1 ? `${reached.length} hosts` : reached[0][0], "c-info"));
    if (refused.length) chips.append(chip(refused.length > 1 ? `${refused.length} refused` : `refused ${refused[0][0]}`, "c-bad"));
    if (e.secrets.length) chips.append(chip("secret", "c-warn"));
    if (e.approved.length) {
      const isYes = e.kind === "call" || /^approve/.test(e.approved.at(-1));
      chips.append(chip(e.kind === "call" ? `yes: ${e.approved.join(", ")}` : e.approved.at(-1), isYes ? "c-ok" : "c-bad"));
    }
    if (ran(e) && e.profile === "unconfined") chips.append(chip("outside the sandbox", "c-bad"));
    if (e.trust !== "signed") chips.append(chip({ recovered: "recovered", unsigned: "unsigned", broken: "not proven" }[e.trust], "c-warn"));
    const time = make("time", "", e.ts.slice(11, 19));
    time.dateTime = e.ts;
    const label = e.kind === "approval" ? `asked: ${e.what}` : e.what || e.message;
    const head = make("summary", "", time, make("span", `state ${colour}`, state), make("span", "what", label.slice(0, 400)), chips);
    const made = make("details", e.kind, head);
    made.addEventListener("toggle", () => {
      if (made.open && made.children.length === 1) made.append(body(e));
    });
    return made;
  };

  const body = (e) => {
    const facts = make("dl");
    const fact = (name, ...values) => {
      const lines = values.filter(Boolean).map((value) => make("div", "", value));
      if (lines.length) facts.append(make("dt", "", name), make("dd", "", ...lines));
    };
    fact("Asked", e.what);
    fact("Agent", e.actor);
    fact("Session", e.session);
    fact("Decision", [e.effect, e.risk ? `risk ${e.risk}` : "", ...e.rules].filter(Boolean).join(" · "));
    fact("Answered", ...e.approved);
    fact("Profile", e.profile);
    fact("Took", e.dur ? `${(e.dur / 1e6).toLocaleString("en", { maximumFractionDigits: 3 })} s` : "");
    fact("Changed", ...e.changed.map((c) => c.join(" ")), e.changeCount > e.changed.length ? `${e.changeCount} in all` : "");
    fact("Held", ...e.held);
    fact("Network", ...e.contacts.map((c) => `${c[1]} ${c[0]}${c[2] ? `: ${c[2]}` : ""}`));
    fact("Secrets", e.secrets.length ? `${e.secrets.join(", ")}: not in the log, only a commitment` : "");
    fact("Message", e.message);
    return make("div", "body", facts, ...e.seqs.map(record));
  };
  const record = (seq) => {
    const line = data.lines[seq];
    const parsed = JSON.parse(line);
    const json = make("pre", "", plain(JSON.stringify(parsed, null, 2)));
    json.tabIndex = 0;
    const text = proof(seq, line);
    const head = make("div", "", make("h3", "", `Record ${seq} · ${plain(String(parsed.event))}`));
    const section = make("section", "record", head, json);
    if (text === null) {
      head.append(make("span", "soft", "not under the signed root: no proof"));
      return section;
    }
    const shownProof = make("pre", "proof", text), toggle = make("button", "plain", "Proof"), copy = make("button", "plain", "Copy proof");
    shownProof.hidden = true;
    shownProof.tabIndex = 0;
    toggle.type = copy.type = "button";
    toggle.setAttribute("aria-expanded", "false");
    toggle.addEventListener("click", () => {
      shownProof.hidden = !shownProof.hidden;
      toggle.setAttribute("aria-expanded", String(!shownProof.hidden));
    });
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        copy.textContent = "Copied";
      } catch {
        shownProof.hidden = false;
        getSelection().selectAllChildren(shownProof);
        copy.textContent = "Selected: press Ctrl+C";
      }
    });
    head.append(toggle, copy);
    section.append(shownProof);
    return section;
  };
  // The file that `permitgate audit prove` prints (c2sp.org/tlog-proof), from the nodes of the tree.
  const proof = (seq, line) => {
    if (seq >= data.size) return null;
    const siblings = [];
    for (let at = seq, count = data.size, level = 0; count > 1; at >>= 1, count = (count + 1) >> 1, level++) {
      if ((at ^ 1) < count) siblings.push(data.nodes[`${level}.${at ^ 1}`]);
    }
    const bytes = new TextEncoder().encode(data.handovers ? `${line}\n${data.handovers}` : line);
    let binary = "";
    for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return ["c2sp.org/tlog-proof@v1", `extra ${btoa(binary)}`, `index ${seq}`, ...siblings, "", data.checkpoint].join("\n");
  };

  // --- hands

  $("filters").addEventListener("input", draw);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => {
    pressed.clear();
    for (const button of $("kinds").children) button.setAttribute("aria-pressed", "false");
    setTimeout(draw);
  });
  $("more").addEventListener("click", more);
  new IntersectionObserver((seen) => seen[0].isIntersecting && more(), { rootMargin: "600px" }).observe($("more"));
  document.addEventListener("keydown", (event) => {
    const heads = [...document.querySelectorAll("summary")], at = heads.indexOf(document.activeElement);
    if (event.key === "/" && !/INPUT|SELECT/.test(document.activeElement.tagName)) {
      event.preventDefault();
      $("text").focus();
    } else if (at >= 0 && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      (heads[at + (event.key === "ArrowDown" ? 1 : -1)] || heads[at]).focus();
    }
  });
  draw();
  document.documentElement.dataset.ready = "yes";
})();
