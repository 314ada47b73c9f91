// The stream of server-sent events, read by fetch: so the token travels in a header, and neither in
// a URL nor in a cookie, which every port of a host would get. It comes back by itself.

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 5000;
// The daemon says something every ten seconds.
const SILENCE = 25000;

// Of the daemon, which says it in words; a server before it answers by a page of its own.
async function refusalOf(response) {
  const isText = response.headers.get("Content-Type")?.startsWith("text/plain");
  return isText ? (await response.text()).trim().slice(0, 200) : "";
}

const sleep = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));

export class Stream {
  // on: {open(), heard(), event(name, data), lost(why), async token(isWrong)}: the latter returns
  // when there is another token. heard(): something came, be it that the daemon is still here. why:
  // the text of a refusal, or nothing. token(): the present one, or null.
  constructor(url, token, on) {
    this.url = url;
    this.token = token;
    this.on = on;
  }

  async run() {
    let pause = FIRST_PAUSE;
    for (;;) {
      const came = await this.once().catch(() => "nothing");
      if (came === "no token") {
        await this.on.token(this.token() !== null);
        continue;
      }
      pause = came === "facts" ? FIRST_PAUSE : Math.min(pause * 2, LONGEST_PAUSE);
      this.on.lost(this.refusal);
      await sleep(pause);
    }
  }

  // What came until it ended: facts, nothing, or the word that a token is needed.
  async once() {
    const token = this.token();
    const quitting = new AbortController();
    const heard = () => {
      clearTimeout(this.silence);
      this.silence = setTimeout(() => quitting.abort(), SILENCE);
    };
    heard();
    this.refusal = "";
    let came = "nothing";
    try {
      const response = await fetch(this.url, {
        headers: token === null ? {} : { Authorization: `Bearer ${token}` },
        signal: quitting.signal,
        cache: "no-store",
        credentials: "omit",
      });
      if (response.status === 401) return "no token";
      if (!response.ok) {
        this.refusal = await refusalOf(response);
        return came;
      }
      this.on.open();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read().catch(() => ({ done: true }));
        if (done) return came;
        heard();
        this.on.heard();
        const blocks = (text + value).split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          if (this.take(block)) came = "facts";
        }
      }
    } finally {
      clearTimeout(this.silence);
    }
  }

  take(block) {
    let name = null;
    let data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (name === null) return false;
    this.on.event(name, JSON.parse(data));
    return true;
  }
}
