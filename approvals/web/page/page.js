"use strict";
// Everything that came from a request is put on the page by textContent, never as markup.
const at = (id) => document.getElementById(id);
const KEY = "permitgate-key";
const ARMED_MS = 400; // a click meant for the card before does not answer this one
const STEP_MS = 60; // whoever holds a key down passes by
const FIRST = ["why-asked", "risk", "profile", "cwd", "host", "user", "connects-to", "also-writes", "asked-for", "runs-instead", "rule-demands"];
const LOUD = /^(unconfined|live) |OUTSIDE THE SANDBOX|ANY PUBLIC HOST/;

const seen = { tab: "pending", rows: [], chosen: "", shown: null, skew: 0, armed: 0, sure: 0, asking: 0, loading: 0, answering: false };
let key = localStorage.getItem(KEY) || "";

function made(tag, name, text) {
  const one = document.createElement(tag);
  if (name) one.className = name;
  if (text !== undefined) one.textContent = text;
  return one;
}

// --- talking to the server -------------------------------------------------------------------

class Refused extends Error {
  constructor(status, word, message) {
    super(message);
    this.status = status;
    this.word = word;
  }
}

async function ask(path, said) {
  const options = { headers: { "X-Permitgate-Key": key }, credentials: "same-origin" };
  if (said !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(said);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refused(0, "unreachable", "The server cannot be reached. Nothing was answered.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refused(response.status, problem.error, problem.message || "The server refused.");
}

async function enter(token) {
  history.replaceState(null, "", location.pathname);
  try {
    const entered = await (await ask("/page/enter", { token })).json();
    key = entered.key;
    localStorage.setItem(KEY, key);
  } catch (error) {
    return outside(error.message);
  }
  return inside();
}

async function leave() {
  await ask("/page/leave", {}).catch(() => {});
  localStorage.removeItem(KEY);
  key = "";
  outside("You signed out.");
}

function outside(why) {
  at("why").textContent = why;
  at("outside").hidden = false;
  at("inside").hidden = at("leave").hidden = true;
  live("signed out", false);
  document.documentElement.dataset.ready = "outside";
}

async function inside() {
  at("outside").hidden = true;
  try {
    await load();
  } catch (error) {
    if (error.status === 401) return outside(error.message);
    tell(error.message);
  }
  at("inside").hidden = at("leave").hidden = false;
  named();
  document.documentElement.dataset.ready = "inside";
  return listen();
}

// A notice's link names a request: it is shown, and nothing more.
function named() {
  const id = /^#(ap_[0-9a-f]+)$/.exec(location.hash)?.[1];
  if (!id) return;
  history.replaceState(null, "", location.pathname);
  choose(id);
}

let listening = 0;

async function listen() {
  const mine = ++listening; // another sign-in takes over
  for (let pause_ms = 500; key && mine === listening; pause_ms = Math.min(pause_ms * 2, 8000)) {
    try {
      const news = await ask("/page/news");
      const reader = news.body.pipeThrough(new TextDecoderStream()).getReader();
      live("live", true);
      pause_ms = 500;
      for (let more = await reader.read(); !more.done; more = await reader.read()) {
        if (more.value.includes("data:")) await refresh();
      }
    } catch (error) {
      if (error.status === 401) return outside(error.message);
    }
    live("not connected", false);
    await new Promise((done) => setTimeout(done, pause_ms));
  }
}

async function refresh() {
  await load().catch((error) => {
    if (error.status === 401) throw error;
    tell(error.message);
  });
}

// --- the list --------------------------------------------------------------------------------

async function load() {
  const mine = ++seen.loading;
  const found = await (await ask(`/api/v1/approvals?state=${seen.tab}`)).json();
  if (mine !== seen.loading) return; // a later one has newer rows
  seen.skew = found.now_ms - Date.now();
  seen.rows = found.approvals;
  drawList();
  if (seen.tab === "pending") counted(seen.rows.length);
  else counted((await (await ask("/api/v1/approvals")).json()).approvals.length);
  const chosen = seen.rows.find((row) => row.id === seen.chosen);
  const changed = seen.shown && (!chosen || chosen.state !== seen.shown.state || chosen.yes_votes !== seen.shown.yes_votes);
  if (changed && !seen.answering) await show(seen.chosen);
}

function counted(number) {
  at("count").textContent = number;
  document.title = number ? `(${number}) Approvals` : "Approvals";
}

const known = new Map();

function drawList() {
  const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = seen.rows.filter((row) => {
    const text = `${row.summary} ${row.tool} ${row.requester} ${row.id}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const items = rows.map((row) => {
    const of = `${row.id} ${row.state} ${row.yes_votes}`;
    if (!known.has(of)) known.set(of, rowOf(row));
    return known.get(of);
  });
  const held = document.activeElement?.closest?.("#rows li");
  at("rows").replaceChildren(...items);
  if (held && items.includes(held)) held.firstChild.focus({ preventScroll: true });
  if (known.size > 3 * items.length + 200) known.clear();
  const nothing = seen.tab === "pending" ? "Nothing waits for an answer." : "Nothing was answered yet.";
  at("empty").textContent = words.length && seen.rows.length ? "No request matches." : nothing;
  at("empty").hidden = rows.length > 0;
  mark();
  tick();
}

function rowOf(row) {
  const item = document.createElement("li");
  const button = made("button", "row");
  button.type = "button";
  button.dataset.id = row.id;
  const isPending = row.state === "pending";
  const left = made("span", isPending ? "left" : "state", row.state);
  if (isPending) left.dataset.ends = row.expires_ms;
  const who = isPending ? `${row.tool} · ${row.requester}` : `${row.answered_by || row.requester}`;
  const need = row.quorum > 1 ? `${row.level_name} ${row.yes_votes}/${row.quorum}` : row.level_name;
  button.append(made("span", "what", row.summary || row.tool), left, made("span", "who", who), made("span", "level", need));
  button.addEventListener("click", () => choose(row.id));
  item.append(button);
  return item;
}

function mark() {
  for (const row of document.querySelectorAll(".row[aria-current]")) row.removeAttribute("aria-current");
  document.querySelector(`.row[data-id="${CSS.escape(seen.chosen)}"]`)?.setAttribute("aria-current", "true");
}

function tick() {
  const now_ms = Date.now() + seen.skew;
  for (const one of document.querySelectorAll("[data-ends]")) {
    const left_s = Math.max(0, Math.round((Number(one.dataset.ends) - now_ms) / 1000));
    const text = left_s >= 120 ? `${Math.floor(left_s / 60)} min` : `${left_s} s`;
    if (one.textContent !== text) one.textContent = text;
    one.classList.toggle("soon", left_s < 60);
  }
}

function move(by) {
  const rows = [...document.querySelectorAll(".row")];
  if (!rows.length) return;
  const now = rows.findIndex((row) => row.dataset.id === seen.chosen);
  const next = rows[now < 0 ? 0 : Math.min(Math.max(now + by, 0), rows.length - 1)];
  next.focus();
  choose(next.dataset.id, { keepsFocus: true, after_ms: STEP_MS });
}

// --- the card --------------------------------------------------------------------------------

async function choose(id, { keepsFocus = false, after_ms = 0 } = {}) {
  if (id !== seen.chosen) {
    at("reason").value = "";
    usable(false);
    seen.shown = null; // until the next one is here, there is nothing to answer
  }
  seen.chosen = id;
  mark();
  if (after_ms) await new Promise((done) => setTimeout(done, after_ms));
  if (id !== seen.chosen) return;
  await show(id);
  if (!keepsFocus) at("card").focus({ preventScroll: true });
}

async function show(id) {
  const mine = ++seen.asking;
  let request;
  try {
    request = await (await ask(`/api/v1/approvals/${encodeURIComponent(id)}`)).json();
  } catch (error) {
    return tell(error.message);
  }
  if (mine !== seen.asking) return; // another one was chosen meanwhile
  const isOther = seen.shown?.id !== request.id;
  seen.shown = request;
  draw(request);
  at("card").hidden = false;
  at("none").hidden = true;
  if (isOther) {
    at("body").scrollTop = 0;
    arm();
  }
}

function arm() {
  const armed = (seen.armed = performance.now() + ARMED_MS);
  usable(false);
  setTimeout(() => seen.armed === armed && usable(true), ARMED_MS);
}

function usable(is) {
  for (const id of ["approve", "deny", "session"]) at(id).disabled = !is;
}

function draw(request) {
  const isPending = request.state === "pending";
  const [first, ...others] = request.facts;
  const parts = [];
  if (!isPending) parts.push(made("p", "done", outcome(request)));
  const head = made("div", "head");
  const needs = `needs ${request.quorum > 1 ? `${request.quorum} answers of ` : ""}level ${request.level_name}`;
  head.append(made("span", "", request.tool), made("span", "", needs));
  if (request.votes.length && isPending) head.append(made("span", "", `${request.yes_votes} of ${request.quorum} said yes`));
  if (isPending) {
    const clock = made("span", "clock", "");
    clock.dataset.ends = request.expires_ms;
    const until = made("span", "", "to answer: ");
    until.append(clock);
    head.append(until);
  }
  head.append(made("span", "mono", request.id));
  parts.push(head, made("pre", "headline", first ? first.text : request.tool));
  const asks = made("p", "asks", `${request.requester} asks.`);
  const claim = others.find((fact) => fact.key === "agent-says");
  if (claim) asks.append(made("span", "claim", ` It says: ${claim.text}`));
  parts.push(asks);
  if (request.warnings.length) {
    const list = made("ul", "warnings");
    list.setAttribute("aria-label", "Warnings");
    list.append(...request.warnings.map((text) => made("li", "", text)));
    parts.push(list);
  }
  parts.push(factList(others));
  if (request.preview.length) parts.push(made("h3", "", "What it would do"), preview(request.preview));
  const box = made("div", "box");
  box.append(made("pre", "", request.statement));
  box.lastChild.id = "statement";
  parts.push(made("h3", "", "The statement, word for word: a yes is to this and nothing else"), box);
  at("body").replaceChildren(...parts);
  at("actions").hidden = !isPending;
  at("session").hidden = at("offer").hidden = request.for_session.length === 0;
  at("offer").textContent = `For the session also, until it ends: ${request.for_session.join(", ")}`;
  tick();
}

function outcome(request) {
  const last = request.votes.at(-1);
  const by = last ? ` Answered by ${last.by}.` : "";
  return `This request is ${request.state}.${by}${last?.reason ? ` Reason: ${last.reason}` : ""}`;
}

function factList(facts) {
  const list = document.createElement("dl");
  const chosen = facts.filter((fact) => FIRST.includes(fact.key));
  chosen.sort((one, other) => FIRST.indexOf(one.key) - FIRST.indexOf(other.key));
  for (const fact of chosen) {
    list.append(made("dt", "", fact.key), made("dd", LOUD.test(fact.text) ? "loud" : "", fact.text));
  }
  return list;
}

function preview(lines) {
  const box = made("div", "box");
  const text = made("pre", "diff");
  text.append(...lines.map((line) => made("span", line.kind === "plain" ? "" : line.kind, line.text)));
  box.append(text);
  return box;
}

// --- answering -------------------------------------------------------------------------------

async function answer(said, reason) {
  const request = seen.shown;
  if (!request || request.state !== "pending" || performance.now() < seen.armed || seen.answering) return;
  seen.answering = true;
  usable(false);
  const rows = [...document.querySelectorAll(".row")];
  const here = rows.findIndex((row) => row.dataset.id === request.id);
  const next = rows[here + 1] || rows[here - 1];
  try {
    const body = { answer: said, seen_digest: request.request_digest, reason };
    const path = `/api/v1/approvals/${encodeURIComponent(request.id)}/decisions`;
    const decided = await (await ask(path, body)).json();
    tell(decided.state === "pending" ? "Your yes counts; it needs another." : `${request.id} is ${decided.state}.`);
    at("reason").value = "";
    await load();
    if (next && decided.state !== "pending" && !isNarrow()) await choose(next.dataset.id);
    else if (isNarrow()) back();
    else await show(request.id);
  } catch (error) {
    tell(error.message);
    await show(request.id);
  } finally {
    seen.answering = false;
    if (seen.shown?.id === request.id) usable(true);
  }
}

function confirmed(said) {
  const request = seen.shown;
  if (!request || request.state !== "pending" || at("card").hidden) return;
  if (said === "approve-for-session" && !request.for_session.length) return;
  const titles = { approve: "Run exactly this, once?", "approve-for-session": "Run this, and permit its hosts for the session?", deny: "Deny this?" };
  at("sure-title").textContent = titles[said];
  at("sure-what").textContent = request.facts[0] ? request.facts[0].text : request.tool;
  at("sure-yes").textContent = said === "deny" ? "Deny" : "Approve";
  at("sure-yes").className = said === "deny" ? "no" : "yes";
  at("sure-reason").value = at("reason").value;
  at("sure").dataset.said = said;
  at("sure").dataset.id = request.id;
  at("sure").showModal();
  // A key that was typed on is no answer: a yes counts once it could have been read.
  const armed = (seen.sure = said === "deny" ? 0 : performance.now() + ARMED_MS);
  at("sure-yes").setAttribute("aria-disabled", armed > 0);
  setTimeout(() => seen.sure === armed && at("sure-yes").setAttribute("aria-disabled", false), ARMED_MS);
  at(said === "deny" ? "sure-reason" : "sure-yes").focus();
}

function settle() {
  if (performance.now() < seen.sure) return;
  const { said, id } = at("sure").dataset;
  at("sure").close();
  if (seen.shown?.id === id) answer(said, at("sure-reason").value);
}

function back() {
  at("card").hidden = true;
  at("none").hidden = false;
  const id = seen.chosen;
  seen.chosen = "";
  seen.shown = null;
  mark();
  (document.querySelector(`.row[data-id="${CSS.escape(id)}"]`) || at("filter")).focus();
}

// --- small things ----------------------------------------------------------------------------

const isNarrow = () => matchMedia("(max-width: 760px)").matches;

function live(text, isOn) {
  at("live").textContent = text;
  at("live").classList.toggle("on", isOn);
}

let told = 0;

function tell(text) {
  at("told").textContent = text;
  at("told").hidden = false;
  clearTimeout(told);
  told = setTimeout(() => (at("told").hidden = true), 5000);
}

async function tab(name) {
  seen.tab = name;
  for (const one of ["pending", "answered"]) at(`tab-${one}`).setAttribute("aria-pressed", one === name);
  if (!isNarrow()) seen.chosen = "";
  seen.shown = null;
  at("card").hidden = true;
  at("none").hidden = false;
  await refresh();
}

// A click or key that a script made up answers nothing.
const trusted = (act) => (event) => event.isTrusted && act(event);
at("approve").addEventListener("click", trusted(() => answer("approve", at("reason").value)));
at("session").addEventListener("click", trusted(() => answer("approve-for-session", at("reason").value)));
at("deny").addEventListener("click", trusted(() => answer("deny", at("reason").value)));
at("sure-yes").addEventListener("click", trusted(settle));
at("sure-no").addEventListener("click", () => at("sure").close());
at("sure-reason").addEventListener("keydown", trusted((event) => event.key === "Enter" && settle()));
at("actions").addEventListener("submit", (event) => event.preventDefault());
at("leave").addEventListener("click", leave);
at("back").addEventListener("click", back);
at("filter").addEventListener("input", drawList);
at("tab-pending").addEventListener("click", () => tab("pending"));
at("tab-answered").addEventListener("click", () => tab("answered"));
document.addEventListener("keydown", trusted((event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || at("sure").open || at("inside").hidden) return;
  if (event.target instanceof HTMLInputElement) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const acts = {
    j: () => move(1), k: () => move(-1), a: () => confirmed("approve"), d: () => confirmed("deny"),
    s: () => confirmed("approve-for-session"), "/": () => at("filter").focus(), Escape: back,
  };
  const act = acts[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}));
setInterval(tick, 1000);
const token = new URLSearchParams(location.hash.slice(1)).get("login");
addEventListener("hashchange", () => {
  const later = new URLSearchParams(location.hash.slice(1)).get("login");
  if (later) enter(later);
  else if (!at("inside").hidden) named();
});
if (token) enter(token);
else if (key) inside();
else outside("This page shows nothing to strangers.");
