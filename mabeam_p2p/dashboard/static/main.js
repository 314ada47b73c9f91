// The page: sections that are drawn when their facts come, the way to the daemon, the controls.

import { keyed, make, mark, say } from "./dom.js";
import { SECTIONS } from "./boards.js";
import { Stream } from "./stream.js";
import { number, time } from "./words.js";

const find = (id) => document.getElementById(id);
const root = document.documentElement;

// ---- what is remembered in this browser ---------------------------------------------------------

function remembered(store, name) {
  try {
    return store().getItem(name);
  } catch {
    return null; // The browser keeps nothing.
  }
}

function remember(store, name, value) {
  try {
    store().setItem(name, value);
  } catch {
    // Then it is asked for again.
  }
}

const theme = find("theme");
const LONG = () => window.localStorage;
const SHORT = () => window.sessionStorage;

function paint() {
  if (theme.value) root.dataset.theme = theme.value;
  else delete root.dataset.theme;
}
theme.value = remembered(LONG, "theme") ?? "";
theme.addEventListener("change", () => {
  remember(LONG, "theme", theme.value);
  paint();
});
paint();

// ---- sections -----------------------------------------------------------------------------------

const board = find("board");
const links = find("sections").querySelector("ul");
const sections = new Map();

for (const build of SECTIONS) {
  const section = build();
  const heading = make("h2", { id: `${section.id}-name`, tabindex: -1 }, section.name);
  const node = make("section", {
    id: section.id, "aria-labelledby": `${section.id}-name`, class: section.wide ? "wide" : null,
  }, heading, ...section.nodes);
  board.append(node);
  const count = make("span", { class: "count" });
  const link = make("a", { href: `#${section.id}` }, section.name, count);
  links.append(make("li", {}, link));
  sections.set(section.id, { ...section, count, tell: section.count, facts: null });
}

const waiting = new Set();
let isPaused = false;
let isAsked = false;

// Once for all that came before the next picture; while the page is not seen, not at all.
function ask() {
  if (isAsked || isPaused || waiting.size === 0) return;
  isAsked = true;
  requestAnimationFrame(() => {
    isAsked = false;
    for (const id of waiting) show(sections.get(id));
    waiting.clear();
  });
}

function show(section) {
  section.render(section.facts);
  const count = section.tell?.(section.facts) ?? null;
  say(section.count, count ? number(count) : "");
  if (section.id === "peer") head(section.facts);
}

const warnings = find("warnings");

function head(facts) {
  say(find("cluster"), `${facts.cluster} · ${facts.name}`);
  document.title = `${facts.name} · ${facts.cluster} · mabeam`;
  const told = [];
  if (facts.voter_count && !facts.quorum) {
    told.push("No quorum: nothing new can be agreed, and what is shown may be old.");
  }
  if (facts.disk_full) told.push("The disk is full: where this peer leads it takes no commands.");
  keyed(warnings, told, (text) => text, (text) => make("p", {}, text), () => {});
}

const pause = find("pause");
pause.addEventListener("click", () => {
  isPaused = !isPaused;
  mark(pause, "aria-pressed", isPaused);
  connected();
  ask();
});

// ---- the way to the daemon ----------------------------------------------------------------------

const connection = find("connection");
let state = "connecting";
let heardAt = null;
let refusal = "";
let build = null;

function connected() {
  const words = {
    connecting: "Connecting",
    live: isPaused ? "Paused" : "Live",
    lost: refusal ? `${refusal} Trying again`
      : heardAt === null ? "No answer yet, trying again"
      : `Connection lost, trying again. As of ${time(heardAt / 1000)}`,
    old: "Live. The daemon runs another release: load this page again",
    token: "Waiting for the token",
  };
  mark(connection, "data-state", state === "live" && isPaused ? "paused" : state);
  say(connection, words[state]);
}

const entry = find("entry");
const word = find("token");

// What can stand in a header.
const WORD = /^[\x21-\x7e]+$/;

// The token comes from the form, or stands behind the # of a link, which no browser sends.
function taken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return remembered(SHORT, "token");
  history.replaceState(null, "", location.pathname);
  if (!WORD.test(given)) return null;
  remember(SHORT, "token", given);
  return given;
}
let token = taken();

function asked(isWrong) {
  state = "token";
  connected();
  board.hidden = true;
  find("sections").hidden = true;
  entry.hidden = false;
  say(find("entry-fault"), isWrong ? "That is not the token." : "");
  word.focus();
  return new Promise((done) => {
    entry.addEventListener("submit", (event) => {
      event.preventDefault();
      const given = word.value.trim();
      word.value = "";
      token = WORD.test(given) ? given : "-";
      remember(SHORT, "token", token);
      done();
    }, { once: true });
  });
}

const stream = new Stream("/events", () => token, {
  open() {
    state = "live";
    entry.hidden = true;
    connected();
  },
  // What has not changed is not said again: what is shown is as new as the last word.
  heard() {
    heardAt = Date.now();
  },
  event(name, data) {
    if (name === "hello") {
      if (build !== null && build !== data.build) state = "old";
      build ??= data.build;
      connected();
      return;
    }
    const section = sections.get(name);
    if (section === undefined) return;
    if (board.hidden) {
      board.hidden = false;
      find("sections").hidden = false;
    }
    section.facts = data;
    waiting.add(name);
    ask();
  },
  lost(why) {
    state = "lost";
    refusal = why;
    connected();
  },
  token: asked,
});
stream.run();
