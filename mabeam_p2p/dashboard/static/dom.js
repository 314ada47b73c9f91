// Elements, made and changed by their text alone: no markup is ever parsed, so that nothing that an
// agent or a peer has written can become more than text.

const SVG = "http://www.w3.org/2000/svg";

// Control characters and marks that change the direction of text would let one name look like
// another, or a value run into the next cell: they are shown by their numbers.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

const numbered = (character) => `\\u{${character.codePointAt(0).toString(16)}}`;

export const visible = (text) => String(text).replace(UNSEEN, numbered);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, String(value));
    }
  }
  node.append(...children.map((child) => (child instanceof Node ? child : visible(child))));
  return node;
}

export const make = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

// Set only what differs: what is selected or read aloud is left alone.
export function say(node, text) {
  const shown = visible(text ?? "");
  if (node.textContent === shown) return false;
  node.textContent = shown;
  return true;
}

export function mark(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

// A value that has changed is lit for a moment.
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
export function light(node) {
  if (calm.matches || document.hidden) return;
  const colour = getComputedStyle(node).getPropertyValue("--lit");
  node.animate([{ backgroundColor: colour }, { backgroundColor: "transparent" }], 1600);
}

const shelves = new WeakMap();

// One child of `parent` for each item, in their order. An item keeps its element as long as it is
// there, and an element that holds the focus is never moved: the others move around it.
export function keyed(parent, items, keyOf, create, update) {
  const before = shelves.get(parent) ?? new Map();
  const now = new Map();
  const wanted = items.map((item) => {
    let key = String(keyOf(item));
    while (now.has(key)) key += "\u0000";
    const known = before.get(key);
    const element = known ?? create(item);
    now.set(key, element);
    update(element, item, known === undefined);
    return element;
  });
  for (const [key, element] of before) {
    if (!now.has(key)) leave(element);
  }
  let place = parent.firstElementChild;
  for (const element of wanted) {
    if (element !== place && element.contains(document.activeElement)) {
      while (place !== null && place !== element) {
        const next = place.nextElementSibling;
        parent.append(place);
        place = next;
      }
    }
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  shelves.set(parent, now);
}

// Whoever was at something that is gone goes on at the heading above it.
function leave(element) {
  const hadFocus = element.contains(document.activeElement);
  const heading = element.closest("section")?.querySelector("h2");
  element.remove();
  if (hadFocus && heading) heading.focus({ preventScroll: true });
}

// What is wider or higher than its place is scrolled by keys, too.
const watched = new ResizeObserver((entries) => {
  for (const { target } of entries) reach(target.closest(".scroll") ?? target);
});
function reach(box) {
  const isCut = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
  if (isCut) box.tabIndex = 0;
  else if (box !== document.activeElement) box.removeAttribute("tabindex");
}
export function scrolling(name, child) {
  const box = make("div", { class: "scroll", role: "group", "aria-label": name }, child);
  watched.observe(box);
  watched.observe(child);
  return box;
}
