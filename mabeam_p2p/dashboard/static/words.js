// How facts are put into words.

const grouped = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const number = (value) => grouped.format(value);

export function time(seconds) {
  if (!seconds) return "–";
  const moment = new Date(seconds * 1000);
  const isToday = moment.toDateString() === new Date().toDateString();
  return (isToday ? clock : day).format(moment);
}

export function lasted(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return `${(seconds / 60).toFixed(1)} min`;
}

export const share = (part) => `${Math.round(part * 100)} %`;

export function size(bytes) {
  for (const [unit, width] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (bytes >= width) return `${(bytes / width).toFixed(1)} ${unit}`;
  }
  return `${bytes} bytes`;
}

export const several = (count, one, many = `${one}s`) =>
  `${number(count)} ${count === 1 ? one : many}`;

// Names of which only the first are known.
export function names({ shown, count }) {
  const more = count - shown.length;
  return shown.join(", ") + (more > 0 ? ` and ${number(more)} more` : "");
}

// Every state has a sign and a word beside its colour.
const SIGNS = {
  alive: ["●", "good"], suspect: ["◐", "doubtful"], dead: ["✕", "bad"], left: ["○", "quiet"],
  open: ["◔", "active"], accepted: ["✓", "good"], rejected: ["✕", "bad"],
  no_clear_majority: ["≈", "doubtful"], no_quorum: ["!", "doubtful"], conflict: ["≠", "bad"],
  accept: ["✓", "good"], reject: ["✕", "bad"], abstain: ["–", "quiet"], silent: ["·", "quiet"],
  waiting: ["◔", "active"], released: ["✓", "good"], broken: ["✕", "bad"],
  queued: ["◔", "quiet"], leased: ["▶", "active"], done: ["✓", "good"], cancelled: ["○", "quiet"],
  revealing: ["◑", "active"], awarded: ["✓", "good"], unsold: ["○", "quiet"],
  sealed: ["■", "quiet"], standing: ["●", "active"], won: ["✓", "good"], lost: ["✕", "quiet"],
  forfeited: ["!", "bad"], withdrawn: ["○", "quiet"],
  leader: ["★", "active"], follower: ["●", "good"], candidate: ["◐", "doubtful"],
  learner: ["○", "quiet"], none: ["–", "quiet"], voter: ["●", "good"],
  quorum: ["◆", "quiet"], voters: ["●", "quiet"], role: ["◐", "quiet"], seat: ["◇", "quiet"],
  yes: ["✓", "good"], no: ["✕", "bad"],
  answers: ["●", "good"], overdue: ["◐", "doubtful"], unreached: ["✕", "bad"],
  unmet: ["○", "quiet"], unasked: ["·", "quiet"],
};
// How this peer is connected with another.
export const LINKS = {
  answers: "answers", overdue: "owes an answer", unreached: "not reached", unmet: "not met",
  unasked: "not asked yet",
};
export const sign = (word) => SIGNS[word] ?? ["·", "quiet"];
export const spoken = (word) => String(word).replaceAll("_", " ");
