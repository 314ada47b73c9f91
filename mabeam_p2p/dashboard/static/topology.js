// The peers as a drawing: who is there, who leads, whom this peer hears, and who was heard to miss
// whom. The table beside it says the same in words.

import { draw, keyed, make, mark, say } from "./dom.js";
import { LINKS, several, sign } from "./words.js";

const WIDTH = 460;
const DRAWN_MAX = 24;
const RADIUS = 15;
const MISSED = ["overdue", "unreached"];

export class Topology {
  constructor() {
    this.lines = draw("g", { class: "lines" });
    this.misses = draw("g", { class: "misses" });
    this.peers = draw("g", { class: "peers" });
    this.title = draw("title", { id: "topology-title" });
    say(this.title, "The peers are being read.");
    this.drawing = draw("svg", {
      class: "topology", role: "img",
      "aria-labelledby": "topology-title",
    }, this.title, this.lines, this.misses, this.peers);
    this.key = make("p", { class: "legend" });
    this.node = make("figure", { class: "figure" }, this.drawing,
      make("figcaption", {}, this.key));
  }

  render({ shown, count }) {
    const here = shown.find((peer) => peer.is_here);
    const others = shown.filter((peer) => !peer.is_here).slice(0, DRAWN_MAX - 1);
    others.sort((one, other) => (one.id < other.id ? -1 : 1));
    const drawn = here ? [here, ...others] : others;
    const height = drawn.length < 4 ? 190 : drawn.length < 8 ? 250 : 320;
    mark(this.drawing, "viewBox", `0 0 ${WIDTH} ${height}`);
    const places = placed(drawn, height);
    const home = here && places.get(here.id);
    keyed(this.lines, home ? others : [], (peer) => peer.id, () => draw("line"), (line, peer) => {
      between(line, home, places.get(peer.id));
      mark(line, "data-state", peer.state);
      mark(line, "data-link", peer.link || null);
    });
    keyed(this.misses, missesOf(drawn), ([by, peer]) => `${by.id} ${peer.id}`, () => draw("line"),
      (line, [by, peer]) => between(line, places.get(by.id), places.get(peer.id)));
    keyed(this.peers, drawn, (peer) => peer.id, peerShape, (node, peer) =>
      setPeer(node, peer, places.get(peer.id)));
    say(this.title, described(drawn));
    const left = count - drawn.length;
    say(this.key, "Lines of this peer: solid, it hears the other; dashed, it suspects it or waits "
      + "for its answer; dotted, it does not reach it; none, the other is gone. Dashes and dots "
      + "between two others: one does not hear the other, as this peer was told."
      + (left > 0 ? ` ${several(left, "peer is", "peers are")} not drawn.` : ""));
  }
}

function between(line, one, other) {
  mark(line, "x1", one.x);
  mark(line, "y1", one.y);
  mark(line, "x2", other.x);
  mark(line, "y2", other.y);
}

// Who does not hear whom, of those that are drawn. What this peer itself hears has a line already.
function missesOf(drawn) {
  const byId = new Map(drawn.map((peer) => [peer.id, peer]));
  return drawn.flatMap((peer) => peer.missed_by_ids.map((id) => [byId.get(id), peer]))
    .filter(([by, peer]) => by !== undefined && by !== peer && !by.is_here && !peer.is_here);
}

function placed(drawn, height) {
  const places = new Map();
  const count = drawn.length;
  drawn.forEach((peer, index) => {
    const angle = count === 1 ? 0 : (2 * Math.PI * index) / count - Math.PI / 2;
    const wide = count === 1 ? 0 : WIDTH / 2 - 62;
    // Room for the halo above, and for two lines of text below; three stand on a higher ground.
    const top = RADIUS + 8;
    const low = height - RADIUS - 36;
    const rise = count === 3 ? (low - top) / 1.5 : (low - top) / 2;
    const middle = count === 1 ? height / 2 - 10 : top + rise;
    places.set(peer.id, {
      x: Math.round(WIDTH / 2 + wide * Math.cos(angle)),
      y: Math.round(middle + (count === 1 ? 0 : rise) * Math.sin(angle)),
    });
  });
  return places;
}

function peerShape() {
  return draw("g", { class: "peer" },
    draw("circle", { class: "halo", r: RADIUS + 5 }),
    draw("circle", { class: "body", r: RADIUS }),
    draw("text", { class: "sign", dy: "0.36em" }),
    draw("text", { class: "name", y: RADIUS + 17 }),
    draw("text", { class: "note", y: RADIUS + 30 }));
}

function setPeer(node, peer, { x, y }) {
  const [halo, , symbol, name, note] = node.children;
  mark(node, "transform", `translate(${x} ${y})`);
  mark(node, "data-state", peer.state);
  mark(node, "data-leader", peer.is_leader ? "" : null);
  mark(node, "data-part", peer.part || null);
  mark(halo, "visibility", peer.is_here ? null : "hidden");
  say(symbol, peer.is_leader ? "★" : sign(peer.state)[0]);
  say(name, short(peer.name));
  say(note, noted(peer));
}

function noted(peer) {
  const words = [];
  if (peer.is_leader) words.push("leads");
  if (peer.state !== "alive") words.push(peer.state);
  else if (MISSED.includes(peer.link)) words.push(LINKS[peer.link]);
  if (peer.part === "learner") words.push("learner");
  if (peer.is_here) words.push("this peer");
  return words.join(", ");
}

const short = (name) => (name.length > 16 ? `${name.slice(0, 15)}…` : name);

function described(drawn) {
  const told = drawn.map((peer) => {
    const note = noted(peer);
    return `${peer.name} ${peer.state === "alive" ? "is alive" : ""}${note ? ` (${note})` : ""}`;
  });
  const missed = missesOf(drawn).map(([by, peer]) => `${by.name} does not hear ${peer.name}`);
  return `Peers: ${[...told, ...missed].join("; ")}.`;
}
