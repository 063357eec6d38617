"use strict";
// Forms become POSTs of JSON with the session's token; parts of the page marked `data-live` are fetched again
// when the kernel's state has changed; lines of traffic are added as they come. Text is only ever set as text.
const token = document.querySelector('meta[name="token"]').content;

function post(path, body, options = {}) {
  return fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", "x-ocap-token": token },
    body: JSON.stringify(body),
    ...options,
  });
}

// ---- forms ----------------------------------------------------------------------------------------

function placeOf(form) {
  return form.querySelector(".said") || document.querySelector("main .said:not(#notice)") || document.getElementById("notice");
}

function say(form, kind, message, detail = []) {
  tell(placeOf(form), kind, message, detail);
}

function tell(place, kind, message, detail = []) {
  const head = document.createElement("p");
  head.append(...linked(message));
  const parts = [head];
  for (const text of detail) {
    const line = document.createElement("pre");
    line.append(...linked(text));
    parts.push(line);
  }
  place.className = `said ${kind}`;
  place.replaceChildren(...parts);
}

// Text, in which names of objects and promises lead to their pages.
function linked(text) {
  return text.split(/\b(k[op]\d+)\b/).map((part, index) => {
    if (index % 2 === 0) return part;
    const link = document.createElement("a");
    link.href = `/${part[1] === "p" ? "promises" : "objects"}/${part}`;
    link.textContent = part;
    return link;
  });
}

// What was done is said on the page that it led to.
const NOTICE = "notice";

function leave(found) {
  if (found.message) sessionStorage.setItem(NOTICE, JSON.stringify([found.message, found.detail || []]));
  location.assign(found.to);
}

function arrive() {
  const notice = sessionStorage.getItem(NOTICE);
  sessionStorage.removeItem(NOTICE);
  if (notice) tell(document.getElementById("notice"), "done", ...JSON.parse(notice));
}
setTimeout(arrive);

async function send(form, path) {
  const answer = await post(path, Object.fromEntries(new FormData(form)));
  const text = await answer.text();
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    found = { error: text };
  }
  if (answer.status === 401) location.reload();
  return found;
}

async function submit(event) {
  const form = event.target.closest("form[data-post]");
  if (!form) return;
  event.preventDefault();
  if (form.dataset.twice && !form.dataset.asked) {
    askAgain(form);
    return;
  }
  const buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  await ask(form, event.submitter?.dataset.do || form.dataset.post);
  for (const button of buttons) button.disabled = false;
  takeBack(form);
  if (event.submitter?.isConnected && document.activeElement === document.body) event.submitter.focus();
}

// What cannot be undone is done by a second press; Escape, or whatever else one turns to, takes the first one back.
function askAgain(form) {
  const button = form.querySelector("button");
  form.dataset.asked = button.textContent;
  button.textContent = form.dataset.twice;
  button.onblur = () => takeBack(form);
  button.onkeydown = (event) => { if (event.key === "Escape") takeBack(form); };
}

function takeBack(form) {
  if (form.dataset.asked) form.querySelector("button").textContent = form.dataset.asked;
  delete form.dataset.asked;
}

async function ask(form, path) {
  const began = Date.now();
  const wait = () => {
    const seconds = Date.now() - began < 2000 ? "" : ` ${Math.round((Date.now() - began) / 1000)} s`;
    const banner = document.querySelector("#away .banner");  // what it waits for, where that is known
    say(form, "busy", `Under way…${seconds}${banner ? `. ${banner.textContent}` : ""}`);
  };
  if (form.querySelector(".said")) wait();
  const ticks = form.querySelector(".said") ? setInterval(wait, 1000) : 0;
  let found;
  try {
    found = await send(form, path);
  } catch {
    found = { error: "The panel does not answer." };
  }
  clearInterval(ticks);
  if (found.error !== undefined) say(form, "error", found.error);
  else if (found.to && form.dataset.stay === undefined) leave(found);
  else say(form, found.kind || "done", found.message, found.detail);
  if (form.closest("[data-live]")) {  // what it was about is another now: the focus goes to what is said of it
    const place = placeOf(form);
    place.tabIndex = -1;
    place.focus();
    refresh();
  }
  const known = document.getElementById("methods");
  if (found.methods && known) known.replaceChildren(...found.methods.map((name) => new Option(name, name)));
}
document.addEventListener("submit", submit);

// An editor says as it is edited whether its text is right, and what it would do.
for (const form of document.querySelectorAll("form[data-check]")) {
  let timer = 0;
  let number = 0;
  const check = async () => {
    const mine = ++number;
    try {
      const found = await send(form, form.dataset.check);
      if (mine !== number) return;
      if (found.error !== undefined) say(form, "error", found.error);
      else say(form, "hint", found.message, found.detail);
    } catch {
      say(form, "error", "The panel does not answer.");
    }
  };
  if (form.dataset.checkNow !== undefined) check();
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(check, 400); });
  form.addEventListener("submit", () => { clearTimeout(timer); number += 1; });
}

// ---- what is live -----------------------------------------------------------------------------------

let isRefreshing = false;
let isStale = false;

// Whoever marks text to copy it keeps it for so long.
function isSelecting(part) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(part, true);
}

// What is the same from one time to the next: a row by its id or by what it leads to, the rest by its place.
function keyOf(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return null;
  if (node.id) return node.id;
  const link = node.matches("a") ? node : node.matches("tr, li") ? node.querySelector("a") : null;
  return link && link.getAttribute("href");
}

// Make `node` what `fresh` is, by as few changes as can be: what has the focus, is scrolled or pointed at stays.
function become(node, fresh) {
  if (node.isEqualNode(fresh)) return;
  if (node.nodeType !== Node.ELEMENT_NODE) { node.data = fresh.data; return; }
  if (node.nodeName === "FORM") return;  // nobody's button changes under their finger
  for (const { name } of [...node.attributes]) if (!fresh.hasAttribute(name) && name !== "open") node.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (name !== "open" && node.getAttribute(name) !== value) node.setAttribute(name, value);
  const wanted = new Set([...fresh.childNodes].map(keyOf));
  const known = new Map();
  for (const child of [...node.childNodes]) {
    const key = keyOf(child);
    if (key && (!wanted.has(key) || known.has(key))) child.remove();
    else if (key) known.set(key, child);
  }
  let at = node.firstChild;
  for (const child of fresh.childNodes) {
    const key = keyOf(child);
    let same = key ? known.get(key) : at && !keyOf(at) && at.nodeName === child.nodeName ? at : null;
    known.delete(key);
    if (same && same.nodeName !== child.nodeName) same = null;
    if (!same) node.insertBefore(document.importNode(child, true), at);
    else {
      if (same === at) at = at.nextSibling;
      else node.insertBefore(same, at);
      become(same, child);
    }
  }
  while (at) {
    const last = at;
    at = at.nextSibling;
    last.remove();
  }
}

async function refresh() {
  if (isRefreshing || document.hidden) { isStale = true; return; }
  isRefreshing = true;
  isStale = false;
  try {
    const answer = await fetch(location.href);
    if (answer.status === 401) location.reload();
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const focused = document.activeElement;
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (!other) continue;
      if (isSelecting(part)) isStale = true;
      else become(part, other);
    }
    if (focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });  // it was moved
  } catch {
    // the next change tries again
  }
  isRefreshing = false;
  if (isStale && !document.hidden && getSelection().isCollapsed) setTimeout(refresh, 500);
}
for (const event of ["visibilitychange", "selectionchange"]) {
  document.addEventListener(event, () => { if (isStale && !document.hidden && getSelection().isCollapsed) refresh(); });
}
setInterval(() => { if (document.querySelector('[data-live="every"]')) refresh(); }, 2000);

// ---- traffic ----------------------------------------------------------------------------------------

const lines = document.getElementById("lines");
const pause = document.getElementById("pause");
const diagram = document.getElementById("diagram");
const kept = 500;
let isPaused = false;
let redraw = 0;

// The latest steps are the last.
if (diagram) diagram.addEventListener("load", () => { diagram.parentElement.scrollTop = diagram.parentElement.scrollHeight; });

if (pause) pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", String(isPaused));
  pause.textContent = isPaused ? "Go on" : "Pause";
});

function add(fresh) {
  const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  for (const { kind, crank, text } of fresh) {
    const item = document.createElement("li");
    item.className = kind;
    if (crank) {
      const link = document.createElement("a");
      link.href = `/traffic/why/${crank}`;
      link.title = "why";
      link.textContent = text;
      item.append(link);
    } else item.textContent = text;
    lines.append(item);
  }
  while (lines.childElementCount > kept) lines.firstElementChild.remove();
  if (atEnd) lines.scrollTop = lines.scrollHeight;
  diagram.parentElement.hidden = false;
  if (!redraw) redraw = setTimeout(() => {
    redraw = 0;
    const address = new URL(diagram.src);
    address.searchParams.set("at", String(Date.now()));
    diagram.src = address.href;
  }, 1000);
}

// ---- the stream of news -------------------------------------------------------------------------------

async function follow() {
  const asked = { since: 0, traffic: false };
  if (lines) {
    const { since, vat, method, ref } = lines.dataset;
    Object.assign(asked, { traffic: true, since: Number(since), vat, method, ref });
    lines.scrollTop = lines.scrollHeight;
  }
  for (;;) {
    try {
      const answer = await post("/events", asked);
      if (answer.status === 401) location.reload();
      if (!answer.ok) throw new Error(answer.statusText);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let begun = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const events = (begun + value).split("\n\n");
        begun = events.pop();
        for (const event of events) {
          if (!event.startsWith("data: ")) continue;
          const news = JSON.parse(event.slice(6));
          if (news.since) asked.since = news.since;
          if (news.version && document.querySelector("[data-live]")) refresh();
          if (news.said) document.getElementById("said").textContent = news.said;
          if (news.lines && !isPaused) add(news.lines);
        }
      }
    } catch {
      // tried again below
    }
    await new Promise((resolve) => setTimeout(resolve, 2000));
    refresh();
  }
}
follow();
