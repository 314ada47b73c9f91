// The sections of the page: {id, name, nodes, count(facts), render(facts)}.

import { keyed, make, mark, say, scrolling } from "./dom.js";
import { Table, chip, setChip } from "./table.js";
import { Topology } from "./topology.js";
import { auctions, proposals } from "./ballots.js";
import { LINKS, lasted, names, number, several, share, size, time } from "./words.js";

function tile(name) {
  const value = make("dd", { class: "big" });
  const note = make("dd", { class: "note" });
  return { node: make("div", { class: "tile" }, make("dt", {}, name), value, note), value, note };
}

export function peer() {
  const [role, leader, quorum, alive, log, disk] =
    ["Role", "Leader", "Quorum", "Peers alive", "Commit index", "Disk"].map(tile);
  const [part, reached] = [chip(), chip()];
  role.value.append(part);
  quorum.value.append(reached);
  const tiles = [role, leader, quorum, alive, log, disk].map((one) => one.node);
  return {
    id: "peer", name: "This peer", nodes: [make("dl", { class: "tiles" }, ...tiles)],
    render(facts) {
      setChip(part, facts.role, facts.role === "none" ? "no part yet" : facts.role);
      say(role.note, facts.unfit ? `not to lead: ${facts.unfit}` : `score ${facts.score}`);
      say(leader.value, facts.leader === null ? "nobody" : facts.leader_name || facts.leader);
      say(leader.note, `term ${number(facts.term)}`);
      setChip(reached, facts.quorum ? "yes" : "no");
      say(quorum.note, `${several(facts.voter_count, "voter")}, `
        + several(facts.learner_count, "learner"));
      const waits = facts.voter_count === 0;
      say(alive.value, waits ? `${facts.alive_count} of ${facts.expect}` : facts.alive_count);
      say(alive.note, waits ? "no cluster yet" : facts.ready ? "this one is ready"
        : facts.quorum ? "this one catches up" : "this one waits for a quorum");
      say(log.value, number(facts.commit_index));
      say(log.note, facts.applied_index === facts.commit_index
        ? `${number(facts.log_entries)} entries kept`
        : `applied up to ${number(facts.applied_index)}`);
      const { disk_used_bytes: used, disk_bytes_max: most } = facts;
      say(disk.value, most ? share(used / most) : size(used));
      say(disk.note, most ? `of ${size(most)}` : "no limit known");
    },
  };
}

export function members() {
  const topology = new Topology();
  const table = new Table("Peers", [
    { name: "Peer", text: (one) => one.name + (one.is_here ? " (this peer)" : ""), kind: "key" },
    { name: "State", chip: (one) => one.state },
    { name: "Link", chip: (one) => one.link, text: (one) => LINKS[one.link] },
    { name: "Not heard by", rare: true, text: (one) => one.missed_by.join(", "), kind: "prose" },
    { name: "Part", chip: (one) => (one.is_leader ? "leader" : one.part) },
    { name: "Address", text: (one) => one.address, kind: "mono" },
    { name: "Agents", text: (one) => names(one.agents), kind: "prose" },
  ], { empty: "No peer is known.", tall: true });
  return {
    id: "members", name: "Peers", wide: true,
    nodes: [make("div", { class: "beside" }, topology.node, table.node)],
    count: (facts) => facts.count,
    render(facts) {
      topology.render(facts);
      table.render(facts);
    },
  };
}

export function elections() {
  const list = make("ol", { class: "log" });
  const box = scrolling("Log of elections", list);
  box.classList.add("tall");
  return {
    id: "elections", name: "Elections", nodes: [box], count: () => null,
    render(facts) {
      keyed(list, facts.shown, (entry) => entry.id, () => make("li", {},
        make("time", {}), chip(), make("span", { class: "text", dir: "auto" })), (node, entry) => {
        const [when, kind, text] = node.children;
        mark(when, "datetime", new Date(entry.when * 1000).toISOString());
        say(when, time(entry.when));
        setChip(kind, entry.kind);
        say(text, entry.text);
      });
    },
  };
}

function single(id, name, table, more = {}) {
  return { id, name, nodes: [table.node], count: (facts) => facts.count,
    render: (facts) => table.render(facts), ...more };
}

export const seats = () => single("seats", "Seats", new Table("Seats", [
  { name: "Seat", text: (seat) => seat.name, kind: "key" },
  { name: "Holder", text: (seat) => seat.holder ?? "vacant", lit: true },
  { name: "Token", text: (seat) => number(seat.token), kind: "number" },
  { name: "Since", text: (seat) => time(seat.since), kind: "time" },
  { name: "Why", text: (seat) => seat.election
    ? `election until ${time(seat.election.deadline)}, `
      + several(seat.election.candidates.count, "candidate")
    : seat.reason, kind: "prose" },
], { empty: "No seat was ever filled." }));

// A table of values with a field that narrows it.
function values(id, name, columns, empty) {
  const table = new Table(name, columns, { empty, tall: true });
  const field = make("input", { type: "search", id: `${id}-filter`, autocomplete: "off",
    spellcheck: "false" });
  const line = make("div", { class: "filter" },
    make("label", { for: `${id}-filter` }, `Filter ${name.toLowerCase()}`), field);
  let last = { shown: [], count: 0 };
  const show = () => {
    const wanted = field.value.trim().toLowerCase();
    const has = (row) => `${row.name}\n${row.value}`.toLowerCase().includes(wanted);
    table.render(last, wanted ? { has } : {});
  };
  field.addEventListener("input", show);
  return { id, name, nodes: [line, table.node], count: (facts) => facts.count,
    render(facts) { last = facts; show(); } };
}

export const parameters = () => values("parameters", "Parameters", [
  { name: "Parameter", text: (one) => one.name, kind: "key" },
  { name: "Value", text: (one) => one.value, kind: "value", lit: true },
  { name: "Version", text: (one) => number(one.version), kind: "number" },
  { name: "Agreed", text: (one) => time(one.when), kind: "time" },
  { name: "Note", rare: true, text: (one) => one.reverted ? `put back: ${one.reverted}`
    : one.awaited.count ? `awaits ${names(one.awaited)}` : "", kind: "prose" },
], "Nothing has been agreed yet.");

export const variables = () => values("variables", "Variables", [
  { name: "Variable", text: (one) => one.name, kind: "key" },
  { name: "Value", text: (one) => one.value, kind: "value", lit: true },
  { name: "Resolved by", text: (one) => one.resolver.replaceAll("_", " ") },
  { name: "Written", text: (one) => time(one.when), kind: "time" },
  { name: "Note", rare: true,
    text: (one) => one.siblings > 1 ? `${one.siblings} concurrent writes` : "" },
], "Nothing is shared yet.");

export function barriers() {
  const columns = [
    { name: "Barrier", text: (one) => one.barrier, kind: "key" },
    { name: "Round", text: (one) => number(one.generation), kind: "number" },
    { name: "State", chip: (one) => one.status },
    { name: "Arrived", lit: true, text: (one) => `${one.arrived.count} of ${one.parties}` },
    { name: "Who", text: (one) => names(one.arrived), kind: "prose" },
    { name: "End", kind: "time", text: (one) => one.status === "waiting"
      ? `until ${time(one.deadline)}` : one.reason },
  ];
  const running = new Table("Barriers that are waited at", columns, { empty: "Nobody waits." });
  const ended = new Table("Barriers passed or broken", columns,
    { empty: "None since this daemon started." });
  return { id: "barriers", name: "Barriers", wide: true,
    nodes: [running.node, make("h3", {}, "Latest ended"), ended.node],
    count: (facts) => facts.open.count,
    render(facts) { running.render(facts.open); ended.render(facts.ended); } };
}

export function tasks() {
  const list = new Table("Tasks", [
    { name: "Task", text: (task) => task.name, kind: "key" },
    { name: "State", chip: (task) => task.status },
    { name: "Agent", text: (task) => task.agent ?? "" },
    { name: "Submitted", text: (task) => time(task.submitted), kind: "time" },
    { name: "Took", text: (task) => lasted(task.seconds), kind: "number" },
    { name: "Lost attempts", text: (task) => task.attempts, kind: "number" },
    { name: "Note", rare: true, text: (task) => task.error || task.reason, kind: "prose" },
    { name: "Id", text: (task) => task.id, kind: "mono" },
  ], { empty: "No task is remembered.", tall: true });
  const workers = new Table("Workers", [
    { name: "Worker", text: (one) => one.agent, kind: "key" },
    { name: "State", chip: (one) => (one.silent ? "suspect" : "alive"),
      text: (one) => (one.silent ? "silent" : "heard of") },
    { name: "Works on", text: (one) => `${one.running} of ${one.slots}`, kind: "number" },
    { name: "Waiting", text: (one) => number(one.queued), kind: "number" },
    { name: "Done", text: (one) => number(one.done), kind: "number" },
    { name: "Pace", text: (one) => `× ${one.pace.toFixed(2)}`, kind: "number" },
    { name: "Offers", text: (one) => names(one.names), kind: "prose" },
  ], { empty: "Nobody offers to work." });
  return { id: "tasks", name: "Tasks", wide: true,
    nodes: [list.node, make("h3", {}, "Workers"), workers.node],
    count: (facts) => facts.tasks.count,
    render(facts) { list.render(facts.tasks); workers.render(facts.workers); } };
}

const LEDGER = {
  accounts: ["Accounts", [
    { name: "Account", text: (one) => one.account, kind: "key" },
    { name: "Currency", text: (one) => one.currency },
    { name: "Balance", text: (one) => one.balance, kind: "number", lit: true },
    { name: "Held", text: (one) => one.held, kind: "number" },
  ], "Nobody has money."],
  currencies: ["Currencies", [
    { name: "Currency", text: (one) => one.name, kind: "key" },
    { name: "Issuer", text: (one) => one.issuer },
    { name: "Minted", text: (one) => one.minted, kind: "number" },
    { name: "Burned", text: (one) => one.burned, kind: "number" },
  ], "There is no currency."],
  holds: ["Holds", [
    { name: "Hold", text: (one) => one.id, kind: "key" },
    { name: "Account", text: (one) => one.account },
    { name: "Amount", text: (one) => `${one.amount} ${one.currency}`, kind: "number" },
    { name: "For", text: (one) => one.payee || (one.escrow ? "an auction" : "") },
    { name: "Until", text: (one) => time(one.deadline), kind: "time" },
  ], "Nothing is set aside."],
  budgets: ["Budgets", [
    { name: "Budget", text: (one) => one.name, kind: "key" },
    { name: "Limit", text: (one) => one.limit, kind: "number" },
    { name: "Spent", text: (one) => one.spent, kind: "number", lit: true },
    { name: "Reserved", text: (one) => one.reserved, kind: "number", lit: true },
    { name: "Free", text: (one) => one.free, kind: "number" },
    { name: "Owner", text: (one) => one.owner },
  ], "No budget is set."],
  movements: ["Latest movements", [
    { name: "Number", text: (one) => number(one.number), kind: "number" },
    { name: "What", text: (one) => one.kind },
    { name: "Amount", text: (one) => `${one.amount} ${one.currency}`, kind: "number" },
    { name: "From", text: (one) => one.source },
    { name: "To", text: (one) => one.target },
    { name: "When", text: (one) => time(one.when), kind: "time" },
    { name: "Note", rare: true, text: (one) => one.note, kind: "prose" },
  ], "Nothing has moved yet."],
};

export function ledger() {
  const tables = Object.entries(LEDGER).map(([part, [name, columns, empty]]) =>
    [part, name, new Table(name, columns, { empty, tall: true })]);
  const nodes = tables.map(([, name, table]) =>
    make("div", { class: "part" }, make("h3", {}, name), table.node));
  return { id: "ledger", name: "Ledger", wide: true,
    nodes: [make("div", { class: "parts" }, ...nodes)],
    count: (facts) => facts.accounts.count,
    render(facts) { for (const [part, , table] of tables) table.render(facts[part]); } };
}

export const SECTIONS = [
  peer,
  members,
  () => ({
    id: "proposals", name: "Proposals", count: (facts) => facts.open.count, ...proposals(),
  }),
  elections,
  parameters,
  variables,
  seats,
  () => ({
    id: "auctions", name: "Auctions", count: (facts) => facts.open.count, ...auctions(),
  }),
  barriers,
  tasks,
  ledger,
];
