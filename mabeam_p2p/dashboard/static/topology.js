// The peers as a drawing: who is there, who leads, and how each is seen from here. The table beside
// it says the same in words.

import { draw, keyed, make, mark, say } from "./dom.js";
import { several, sign } from "./words.js";

const WIDTH = 460;
const DRAWN_MAX = 24;
const RADIUS = 15;

export class Topology {
  constructor() {
    this.lines = draw("g", { class: "lines" });
    this.peers = draw("g", { class: "peers" });
    this.title = draw("title", { id: "topology-title" });
    this.drawing = draw("svg", {
      class: "topology", role: "img",
      "aria-labelledby": "topology-title",
    }, this.title, this.lines, this.peers);
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
      const place = places.get(peer.id);
      mark(line, "x1", home.x);
      mark(line, "y1", home.y);
      mark(line, "x2", place.x);
      mark(line, "y2", place.y);
      mark(line, "data-state", peer.state);
    });
    keyed(this.peers, drawn, (peer) => peer.id, peerShape, (node, peer) =>
      setPeer(node, peer, places.get(peer.id)));
    say(this.title, described(drawn));
    const left = count - drawn.length;
    say(this.key, "Lines, as this peer sees it: solid, alive; dashed, suspected; none, gone."
      + (left > 0 ? ` ${several(left, "peer is", "peers are")} not drawn.` : ""));
  }
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
  return `Peers: ${told.join("; ")}.`;
}
