// Proposals and auctions: each a panel that opens, with its votes or bids.

import { keyed, light, make, mark, say } from "./dom.js";
import { Table, chip, setChip } from "./table.js";
import { names, several, share, time } from "./words.js";

const CHOICES = ["accept", "reject", "abstain"];

// A list of panels. panel: {create(), update(node, item)}, whose nodes are <details>.
class Panels {
  constructor(empty, panel, isOpen) {
    this.panel = panel;
    this.isOpen = isOpen;
    this.list = make("ul", { class: "panels" });
    this.empty = make("p", { class: "empty" }, empty);
    this.more = make("p", { class: "more" });
    this.node = make("div", {}, this.empty, this.list, this.more);
  }

  render({ shown, count }) {
    this.empty.hidden = count > 0;
    keyed(this.list, shown, (item) => item.id, () => {
      const panel = new this.panel();
      panel.node.open = this.isOpen;
      const item = make("li", {}, panel.node);
      item.panel = panel;
      return item;
    }, (item, facts) => item.panel.update(facts));
    this.more.hidden = count <= shown.length;
    say(this.more, `${shown.length} of ${count} are listed.`);
  }
}

class ProposalPanel {
  constructor() {
    this.name = make("span", { class: "key", dir: "auto" });
    this.value = make("span", { class: "value", dir: "auto" });
    this.status = chip();
    this.tally = make("span", { class: "tally" });
    this.bar = make("span", { class: "bar", "aria-hidden": "true" },
      ...[...CHOICES, "silent"].map((choice) => make("span", { "data-choice": choice })));
    this.about = make("p", { class: "about" });
    this.rationale = make("blockquote", { class: "rationale", dir: "auto" });
    this.votes = new Table("Votes", [
      { name: "Agent", text: (vote) => vote.agent, kind: "key" },
      { name: "Vote", chip: (vote) => vote.choice },
      { name: "Confidence", text: (vote) => share(vote.confidence), kind: "number" },
      { name: "Rationale", text: (vote) => vote.rationale, kind: "prose" },
    ], { empty: "No votes yet." });
    this.silent = make("p", { class: "more" });
    this.node = make("details", { class: "panel" },
      make("summary", {},
        make("span", { class: "headline" },
          this.name, make("span", { class: "is" }, "="), this.value),
        this.status, this.tally, this.bar),
      make("div", { class: "inside" }, this.about, this.rationale, this.votes.node, this.silent));
  }

  update(facts) {
    say(this.name, facts.parameter);
    say(this.value, facts.value);
    setChip(this.status, facts.status);
    const counts = facts.votes.counts;
    const silent = facts.silent.count;
    const told = CHOICES.filter((choice) => counts[choice]).map((c) => `${counts[c]} ${c}`);
    if (silent) told.push(`${silent} silent`);
    if (say(this.tally, told.join(" · "))) light(this.tally);
    for (const part of this.bar.children) {
      const { choice } = part.dataset;
      const count = choice === "silent" ? silent : counts[choice] ?? 0;
      part.style.flexGrow = String(count);
      part.hidden = !count;
    }
    say(this.about, aboutProposal(facts));
    say(this.rationale, facts.rationale);
    this.rationale.hidden = !facts.rationale;
    this.votes.render(facts.votes);
    this.silent.hidden = !silent;
    say(this.silent, `Silent: ${names(facts.silent)}.`);
  }
}

function aboutProposal(facts) {
  const asked = `${facts.proposer} asks ${several(facts.electorate, "agent")}`
    + (facts.group === "all" ? "" : ` of ${facts.group}`);
  if (facts.status === "open") {
    return `${asked} since ${time(facts.when)}, until ${time(facts.deadline)}. Id ${facts.id}.`;
  }
  return `${asked}. Closed ${time(facts.decided)} (${facts.reason}), index ${facts.index} in term `
    + `${facts.term}; ${share(facts.accept_ratio)} of the votes accept. Id ${facts.id}.`;
}

class AuctionPanel {
  constructor() {
    this.item = make("span", { class: "key", dir: "auto" });
    this.rule = make("span", { class: "value" });
    this.status = chip();
    this.tally = make("span", { class: "tally" });
    this.about = make("p", { class: "about" });
    this.bids = new Table("Bids", [
      { name: "Bidder", text: (bid) => bid.bidder, kind: "key" },
      { name: "State", chip: (bid) => bid.status },
      { name: "Offer", text: (bid) => bid.offers || "sealed", kind: "value" },
    ], { empty: "No bids yet." });
    this.awards = new Table("Awards", [
      { name: "Winner", text: (award) => award.bidder, kind: "key" },
      { name: "Gets", text: (award) => award.items || award.quantity },
      { name: "Pays", text: (award) => award.payment, kind: "number" },
    ], { empty: "Nothing is awarded." });
    this.node = make("details", { class: "panel" },
      make("summary", {}, make("span", { class: "headline" }, this.item, this.rule),
        this.status, this.tally),
      make("div", { class: "inside" }, this.about, this.bids.node, this.awards.node));
  }

  update(facts) {
    const isOver = !["open", "revealing"].includes(facts.status);
    say(this.item, facts.item);
    say(this.rule, `${facts.quantity} × ${facts.rule.replaceAll("_", " ")}`
      + (facts.side === "reverse" ? ", reverse" : ""));
    setChip(this.status, facts.status);
    if (say(this.tally, several(facts.bids.count, "bid"))) light(this.tally);
    const words = [`${facts.auctioneer} ${facts.side === "reverse" ? "buys" : "sells"}`];
    words.push(`reserve ${facts.reserve} ${facts.currency}`.trim());
    if (facts.limit !== null) words.push(`the next unit costs ${facts.limit}`);
    words.push(isOver ? facts.reason : `until ${time(facts.deadline)}`);
    say(this.about, `${words.filter(Boolean).join("; ")}. Id ${facts.id}.`);
    this.bids.render(facts.bids);
    this.awards.node.hidden = !facts.awards.count;
    this.awards.render(facts.awards);
    mark(this.node, "data-over", isOver ? "" : null);
  }
}

// Those that run, and those that have ended.
function both(panel, nothingRuns, latest, nothingEnded) {
  const running = new Panels(nothingRuns, panel, true);
  const ended = new Panels(nothingEnded, panel, false);
  return {
    nodes: [running.node, make("h3", {}, latest), ended.node],
    render(facts) {
      running.render(facts.open);
      ended.render(facts.ended);
    },
  };
}

export const proposals = () =>
  both(ProposalPanel, "No open proposals.", "Latest decided", "Nothing has been decided yet.");
export const auctions = () =>
  both(AuctionPanel, "No auction is open.", "Latest ended", "None has ended yet.");
