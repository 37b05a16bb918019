"use strict";
// Everything that came from a request is put on the page by textContent, never as markup.
const at = (id) => document.getElementById(id);
const KEY = "permitgate-key";
const ARMED_MS = 400; // a click meant for the card before does not answer this one
const STEP_MS = 60; // whoever holds a key down passes by
const SAYS = ["command", "script", "text-verbatim"];
const CHANGES = ["lets-in", "puts-back", "brings-back", "makes", "changes"];
const FIRST = ["why-asked", "risk", "held-because", "made-by", "rule-demands", "asked-for", "runs-instead", "cwd", "root", "host", "user"];
const ENFORCED = ["profile", "connects-to", "through-proxy", "also-writes", "writes-only", "reads", "speaks-to", "no-copy", "not-covered", "preview", "timeout"];
const DIGESTS = ["policy", "change-set", "changes-sha256"]; // they stand in the statement
const LOUD = /^(unconfined|live) |OUTSIDE THE SANDBOX|ANY PUBLIC HOST/;
const EFFECT = /^ *(?:may be )?(ALLOW|ASK|DENY) /;

const seen = { tab: "pending", rows: [], grants: [], offers: [], chosen: "", shown: null, skew: 0, armed: 0, sure: 0, asking: 0, loading: 0, answering: false };
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
  const isGrants = seen.tab === "grants";
  const found = await (await ask(isGrants ? "/api/v1/grants" : `/api/v1/approvals?state=${seen.tab}`)).json();
  if (mine !== seen.loading) return; // a later one has newer rows
  seen.skew = isGrants ? seen.skew : found.now_ms - Date.now();
  seen.rows = found.approvals || [];
  seen.grants = found.grants || [];
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
const NOTHING = {
  pending: "Nothing waits for an answer.",
  answered: "Nothing was answered yet.",
  grants: "Nothing is granted.",
};

function drawList() {
  const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const isWanted = (...texts) => words.every((word) => texts.join(" ").toLowerCase().includes(word));
  const rows = seen.rows.filter((row) => isWanted(row.summary, row.tool, row.requester, row.id));
  const items = rows.map((row) => {
    const of = `${row.id} ${row.state} ${row.yes_votes}`;
    if (!known.has(of)) known.set(of, rowOf(row));
    return known.get(of);
  });
  items.push(...seen.grants.filter((one) => isWanted(...one.covers, one.requester, one.id)).map(grantOf));
  const held = document.activeElement?.closest?.("#rows li");
  at("rows").replaceChildren(...items);
  if (held && items.includes(held)) held.firstChild.focus({ preventScroll: true });
  if (known.size > 3 * items.length + 200) known.clear();
  const any = seen.rows.length + seen.grants.length;
  at("empty").textContent = words.length && any ? "Nothing matches." : NOTHING[seen.tab];
  at("empty").hidden = items.length > 0;
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

function grantOf(grant) {
  const item = made("li", "grant");
  const left = made("span", "left");
  left.dataset.ends = grant.until_ms;
  const uses = grant.uses === null ? "for the session" : `${grant.uses_left} of ${grant.uses} uses left`;
  const end = made("button", "quiet", "Revoke");
  end.type = "button";
  end.setAttribute("aria-label", `Revoke: ${grant.covers[0]}`);
  end.addEventListener("click", trusted(() => revoke(grant.id)));
  const by = `${grant.requester} · ${uses} · by ${grant.by.join(", ")}`;
  item.append(made("span", "what", grant.covers.join("\n")), left, made("span", "who", by), end);
  return item;
}

async function revoke(id) {
  try {
    await ask(`/api/v1/grants/${encodeURIComponent(id)}/revoke`, {});
    tell(`${id} is revoked.`);
  } catch (error) {
    tell(error.message);
  }
  await refresh();
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
  if (mine !== seen.asking || id !== seen.chosen) return; // something else was chosen meanwhile
  const isOther = seen.shown?.id !== request.id;
  seen.shown = request;
  draw(request);
  at("card").hidden = false;
  at("none").hidden = true;
  if (isOther) {
    at("body").scrollTop = 0;
    arm();
  }
  if (request.state === "pending") await showOffers(request);
}

async function showOffers(request) {
  const path = `/api/v1/approvals/${encodeURIComponent(request.id)}/offers`;
  const found = await ask(path).then((response) => response.json()).catch(() => ({ offers: [] }));
  if (seen.shown !== request) return;
  seen.offers = found.offers;
  at("grant").hidden = found.offers.length === 0;
  at("offers").replaceChildren(...(found.offers.length ? [title("A yes can also grant, if you choose so"), offerList(found.offers)] : []));
}

function arm() {
  const armed = (seen.armed = performance.now() + ARMED_MS);
  usable(false);
  setTimeout(() => seen.armed === armed && usable(true), ARMED_MS);
}

function usable(is) {
  for (const id of ["approve", "deny", "session", "grant"]) at(id).disabled = !is;
}

function draw(request) {
  const isPending = request.state === "pending";
  const parts = [];
  if (!isPending) parts.push(made("p", "done", outcome(request)));
  parts.push(headOf(request, isPending), made("pre", "headline", headline(request)));
  const asks = made("p", "asks", `${request.requester} asks.`);
  const claim = request.facts.find((fact) => fact.key === "agent-says");
  if (claim) asks.append(made("span", "claim", ` It says: ${claim.text}`));
  parts.push(asks);
  if (request.warnings.length) {
    const list = made("ul", "warnings");
    list.setAttribute("aria-label", "Warnings");
    list.append(...request.warnings.map((text) => made("li", "", text)));
    parts.push(list);
  }
  const others = request.facts.filter((fact) => !said(request).includes(fact) && fact !== claim);
  const rest = others.filter((fact) => ![...FIRST, ...ENFORCED, ...DIGESTS].includes(fact.key));
  const end = request.preview.findIndex((line) => line.text === "");
  const [tree, change] = end < 0 ? [request.preview, []] : [request.preview.slice(0, end), request.preview.slice(end + 1)];
  // Of a command elsewhere nothing here is known but what its agent says.
  const isElsewhere = request.facts.some((fact) => fact.key === "actor-says");
  const says = isElsewhere ? ", says the agent" : "";
  const offers = made("div");
  offers.id = "offers";
  const box = made("div", "box");
  box.append(made("pre", "", request.statement));
  box.lastChild.id = "statement";
  parts.push(
    ...section("", factList(others, FIRST)),
    ...section(`What the sandbox will enforce${says}`, factList(others, ENFORCED)),
    ...section(`What it would change${says}`, preview(change)),
    ...section(`Why it is asked, access by access${says}`, preview(tree)),
    offers,
    ...section("Also in it", factList(rest, [...new Set(rest.map((fact) => fact.key))])),
    ...section("The statement, word for word: a yes is to this and nothing else", box),
  );
  at("body").replaceChildren(...parts);
  at("actions").hidden = !isPending;
  at("grant").hidden = true;
  at("session").hidden = at("offer").hidden = request.for_session.length === 0;
  at("offer").textContent = `For the session also, until it ends: ${request.for_session.join(", ")}`;
  tick();
}

function headOf(request, isPending) {
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
  return head;
}

// What is asked for: the command, else the changes, else whatever the statement says first.
function said(request) {
  for (const keys of [SAYS, CHANGES]) {
    const found = request.facts.filter((fact) => keys.includes(fact.key));
    if (found.length) return found;
  }
  return request.facts.slice(0, 1);
}

const headline = (request) => said(request).map((fact) => fact.text).join("\n") || request.tool;
const title = (text) => made("h3", "", text);
const section = (text, content) => (content.childElementCount ? [...(text ? [title(text)] : []), content] : []);

function outcome(request) {
  const last = request.votes.at(-1);
  const by = last ? ` Answered by ${last.by}.` : "";
  return `This request is ${request.state}.${by}${last?.reason ? ` Reason: ${last.reason}` : ""}`;
}

function factList(facts, keys) {
  const list = made("dl");
  for (const key of keys) {
    const found = facts.filter((fact) => fact.key === key);
    if (found.length) list.append(made("dt", "", key.replaceAll("-", " ")));
    list.append(...found.map((fact) => made("dd", LOUD.test(fact.text) ? "loud" : "", fact.text)));
  }
  return list;
}

function offerList(offers) {
  const list = made("dl", "offers");
  for (const one of offers) {
    list.append(made("dt", "", one.scope), made("dd", "", one.covers.join("\n")));
    list.append(made("dd", "soft", earlier(one)));
    for (const such of one.covered_such) list.append(made("dd", "soft", `covered: ${such}`));
    for (const such of one.missed_such) list.append(made("dd", "soft", `not: ${such}`));
  }
  return list;
}

function earlier(offer) {
  if (offer.covered === null || offer.missed === null) return "What it would have covered was not counted.";
  const number = offer.covered + offer.missed;
  if (!number) return "Nothing was asked before in this log.";
  return `It would have covered ${offer.covered} of the ${number} asked before in this log.`;
}

function preview(lines) {
  const box = made("div", "box");
  const text = made("pre", "diff");
  const kind = (line) => (line.kind === "plain" ? (EFFECT.exec(line.text)?.[1] || "").toLowerCase() : line.kind);
  text.append(...lines.map((line) => made("span", kind(line), line.text)));
  if (lines.length) box.append(text);
  return box;
}

// --- answering -------------------------------------------------------------------------------

async function answer(door, words) {
  const request = seen.shown;
  if (!request || request.state !== "pending" || performance.now() < seen.armed || seen.answering) return;
  seen.answering = true;
  usable(false);
  const rows = [...document.querySelectorAll(".row")];
  const here = rows.findIndex((row) => row.dataset.id === request.id);
  const next = rows[here + 1] || rows[here - 1];
  try {
    const body = { seen_digest: request.request_digest, ...words };
    const path = `/api/v1/approvals/${encodeURIComponent(request.id)}/${door}`;
    const decided = await (await ask(path, body)).json();
    const granted = decided.grant ? ` ${decided.grant.id} is granted.` : "";
    tell(decided.state === "pending" ? "Your yes counts; it needs another." : `${request.id} is ${decided.state}.${granted}`);
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
  at("sure-what").textContent = headline(request);
  at("sure-yes").textContent = said === "deny" ? "Deny" : "Approve";
  at("sure-yes").className = said === "deny" ? "no" : "yes";
  at("sure-reason").value = at("reason").value;
  at("sure").dataset.said = said;
  at("sure").dataset.id = request.id;
  at("sure").showModal();
  armed("sure-yes", said === "deny" ? 0 : ARMED_MS);
  at(said === "deny" ? "sure-reason" : "sure-yes").focus();
}

// A key that was typed on is no answer: a yes counts once it could have been read.
function armed(id, after_ms) {
  const until = (seen.sure = after_ms && performance.now() + after_ms);
  at(id).setAttribute("aria-disabled", after_ms > 0);
  setTimeout(() => seen.sure === until && at(id).setAttribute("aria-disabled", false), after_ms);
}

function settle() {
  if (performance.now() < seen.sure) return;
  const { said, id } = at("sure").dataset;
  at("sure").close();
  if (seen.shown?.id === id) answer("decisions", { answer: said, reason: at("sure-reason").value });
}

function choosingGrant() {
  const request = seen.shown;
  if (!request || request.state !== "pending" || at("card").hidden || !seen.offers.length) return;
  at("granting-what").textContent = headline(request);
  at("scopes").replaceChildren(at("scopes").firstElementChild, ...seen.offers.map(scopeOf));
  at("granting").dataset.id = request.id;
  at("granting").showModal();
  armed("granting-yes", ARMED_MS);
  at("scopes").querySelector("input").focus();
}

function scopeOf(offer, index) {
  const label = made("label", "scope");
  const radio = made("input");
  radio.type = "radio";
  radio.name = "scope";
  radio.value = offer.scope;
  radio.checked = index === 0; // the narrowest
  const text = made("span", "", offer.covers.join("\n"));
  text.append(made("span", "soft", earlier(offer)));
  label.append(radio, made("b", "", offer.scope), text);
  return label;
}

function grantIt() {
  if (performance.now() < seen.sure) return;
  const [uses, minutes] = [at("uses"), at("minutes")];
  const wrong = [uses, minutes].find((one) => !one.checkValidity());
  if (wrong) return wrong.reportValidity();
  const scope = at("scopes").querySelector("input:checked").value;
  const { id } = at("granting").dataset;
  at("granting").close();
  if (seen.shown?.id === id) answer("grants", { scope, uses: uses.valueAsNumber, minutes: minutes.valueAsNumber });
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
  for (const one of ["pending", "answered", "grants"]) at(`tab-${one}`).setAttribute("aria-pressed", one === name);
  if (!isNarrow()) seen.chosen = "";
  seen.shown = null;
  at("card").hidden = true;
  at("none").hidden = false;
  await refresh();
}

// A click or key that a script made up answers nothing.
const trusted = (act) => (event) => event.isTrusted && act(event);
const decide = (said) => trusted(() => answer("decisions", { answer: said, reason: at("reason").value }));
at("approve").addEventListener("click", decide("approve"));
at("session").addEventListener("click", decide("approve-for-session"));
at("deny").addEventListener("click", decide("deny"));
at("grant").addEventListener("click", choosingGrant);
at("granting-yes").addEventListener("click", trusted(grantIt));
at("granting-no").addEventListener("click", () => at("granting").close());
at("sure-yes").addEventListener("click", trusted(settle));
at("sure-no").addEventListener("click", () => at("sure").close());
at("sure-reason").addEventListener("keydown", trusted((event) => event.key === "Enter" && settle()));
at("actions").addEventListener("submit", (event) => event.preventDefault());
at("leave").addEventListener("click", leave);
at("back").addEventListener("click", back);
at("filter").addEventListener("input", drawList);
at("tab-pending").addEventListener("click", () => tab("pending"));
at("tab-answered").addEventListener("click", () => tab("answered"));
at("tab-grants").addEventListener("click", () => tab("grants"));
document.addEventListener("keydown", trusted((event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") || at("inside").hidden) return;
  if (event.target instanceof HTMLInputElement) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const acts = {
    j: () => move(1), k: () => move(-1), a: () => confirmed("approve"), d: () => confirmed("deny"),
    s: () => confirmed("approve-for-session"), g: choosingGrant, "/": () => at("filter").focus(), Escape: back,
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
