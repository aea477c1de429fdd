// The explorer of one capture: pictures drawn from columns that the kernel sends, and its sound.
//
// The kernel holds the audio; the page asks for what it shows and plays, and keeps none of it:
//   {kind: "view", id, start, end, columns}  ->  the same kind and id, the words, the arrays below
//   {kind: "sound", id, start, end}          ->  the same kind and id, and a WAV file
// All times are seconds of the relative clock. Text goes into the page as text, never as HTML.

const WORD_LINES = 2;
const WORD_LINE = 14; // pixels
const TALK_ROW = 11; // pixels
const LEAST_TEXT = 30; // pixels: less of an utterance says nothing
const MINIMAP = 36;
const LEFT = 56;
const RIGHT = 8;
const LONGEST_CLIP = 10;
const PATIENCE = 5000; // milliseconds
const SHORTEST = 0.05; // seconds that are shown at least
const STEPS = [
  0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
  14400, 28800, 86400,
];

/** Return an element with some properties and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") element.style.cssText = value;
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Return seconds as h:mm:ss with so many decimals. */
function clock(seconds, decimals = 3) {
  const sign = seconds < 0 ? "-" : "";
  const units = Math.round(Math.abs(seconds) * 10 ** decimals);
  const whole = Math.floor(units / 10 ** decimals);
  const pad = (n, width) => String(n).padStart(width, "0");
  const fraction = decimals ? "." + pad(units % 10 ** decimals, decimals) : "";
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return `${sign}${h}:${pad(m, 2)}:${pad(s, 2)}${fraction}`;
}

/** Return milliseconds since 1970 as a time of day, UTC. */
function wall(milliseconds) {
  if (!Number.isFinite(milliseconds) || Math.abs(milliseconds) > 8e15) return "unknown";
  return new Date(milliseconds).toISOString().replace("T", " ").replace("Z", "");
}

/** Return where the lanes are, top and bottom in pixels, and how high they are together. */
function laidOut({ people, talks, wordsInAll }) {
  const lanes = { wave: [4, 84], spectrum: [92, 292] };
  let bottom = 292;
  const add = (name, above, height) => {
    lanes[name] = [bottom + above, bottom + above + height];
    bottom += above + height;
  };
  if (wordsInAll) add("words", 6, WORD_LINES * WORD_LINE);
  if (talks.length) add("talks", 6, people.length * TALK_ROW);
  add("gaps", 8, 18);
  add("axis", 2, 20);
  return { ...lanes, height: bottom + 4 };
}

/** Return as much of a text as has room, in pixels. */
function fitted(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  const letters = [...text]; // whole characters, not halves of them
  let length = letters.length;
  const cut = () => letters.slice(0, length).join("") + "…";
  while (length > 1 && context.measureText(cut()).width > room) length = Math.floor(length * 0.9);
  return cut();
}

/** What one widget is; see render at the end. */
class Explorer {
  constructor(model, element) {
    this.model = model;
    this.facts = model.get("facts");
    this.lanes = laidOut(this.facts);
    this.whole = [this.facts.start, Math.max(this.facts.end, this.facts.start + SHORTEST)];
    this.span = [...this.whole];
    this.pointer = null; // where it is over the picture, pixels
    this.playhead = null;
    this.clip = null; // what is playing: its start, seconds
    this.me = Math.random().toString(36).slice(2); // answers reach every view of every page
    this.number = 0; // of the last question
    this.waiting = false; // for a view
    this.next = false; // another view is wanted after it
    this.colors = palette(this.facts.palette);
    this.build(element);
    this.listen();
    this.fromModel();
    const { arrays, ...first } = model.get("first");
    if (arrays.length) this.take(unpacked(first, arrays));
    this.ask([...this.whole], 1000, (view) => {
      this.overall = view;
      this.draw();
    });
    this.refresh();
  }

  build(element) {
    const button = (text, title, action) => {
      const made = make("button", { textContent: text, title, type: "button" });
      made.style.cssText = "min-width:2.2em;padding:1px 7px;margin-right:3px;font:inherit;cursor:pointer";
      made.setAttribute("aria-label", title);
      made.addEventListener("click", () => {
        action();
        this.root.focus({ preventScroll: true });
      });
      return made;
    };
    this.readout = make("div", {
      className: "rl-readout",
      style: "font-variant-numeric:tabular-nums;min-height:1.4em;white-space:pre-wrap",
    });
    this.canvas = make("canvas", {
      className: "rl-picture", role: "img", "aria-label": `Sound of ${this.facts.title} over time`,
      style: `width:100%;height:${this.lanes.height}px;display:block;cursor:crosshair;touch-action:pan-y`,
    });
    this.map = make("canvas", {
      className: "rl-map", "aria-label": "The whole capture, and what is shown of it", role: "img",
      style: `width:100%;height:${MINIMAP}px;display:block;cursor:pointer`,
    });
    this.audio = make("audio", { controls: true, style: "height:30px;vertical-align:middle" });
    this.list = make("div", { className: "rl-gaps" });
    this.marked = make("div", { className: "rl-marks" });
    const keys =
      "click: hear 10 s · drag: move · wheel (once clicked), + −: zoom · ← →: move · Home: the " +
      "whole · Space: play, stop · n, p: next, previous gap · m: mark";
    this.root = make(
      "div",
      { className: "rl-explore", tabIndex: 0, style: "font-size:13px;line-height:1.5;outline-offset:2px" },
      make("div", { style: "font-weight:600;overflow-wrap:anywhere", textContent: this.facts.title }),
      make(
        "div",
        { style: "margin:3px 0" },
        button("+", "zoom in", () => this.zoom(0.5)),
        button("−", "zoom out", () => this.zoom(2)),
        button("←", "earlier", () => this.move(-0.5)),
        button("→", "later", () => this.move(0.5)),
        button("whole", "show the whole", () => this.show(...this.whole)),
        button("gap ›", "to the next gap", () => this.step(1)),
        button("mark", "mark this moment", () => this.mark()),
        this.audio,
      ),
      this.canvas,
      this.map,
      this.readout,
      make("div", { style: "opacity:.7;font-size:12px", textContent: keys }),
      ...this.leftOut(),
      this.marked,
      this.list,
    );
    this.listGaps();
    element.append(this.root);
  }

  /** Hide the still picture below, which is for notebooks that are read without a kernel. */
  hideStill() {
    const child = this.root.closest(".jp-OutputArea-child");
    const after = child?.nextElementSibling;
    if (child && !this.outputs) {
      this.outputs = new MutationObserver(() => this.hideStill()); // it may come later
      this.outputs.observe(child.parentElement, { childList: true });
    }
    if (!after?.querySelector("img")) return;
    this.still = after;
    after.style.display = "none";
  }

  // ---- questions to the kernel

  /** Ask for a span in so many columns; `then` gets them. */
  ask(span, columns, then) {
    this.send({ kind: "view", start: span[0], end: span[1], columns }, (content, buffers) => {
      then(unpacked(content, buffers));
    });
  }

  send(question, then) {
    const id = `${this.me} ${++this.number}`;
    this.questions.set(id, then);
    this.model.send({ ...question, id });
    setTimeout(() => {
      if (this.questions.has(id)) this.complain("the kernel is busy, or it is gone: then run the cell again");
    }, PATIENCE);
  }

  answered(content, buffers) {
    const then = this.questions.get(content.id);
    if (!then) return;
    this.questions.delete(content.id);
    if (content.kind === "error") {
      this.complain(content.text);
      this.waiting = false;
    } else then(content, buffers);
  }

  /** Bring the picture up to date with the span: one question at a time, the last one counts. */
  refresh() {
    this.draw();
    if (this.waiting) {
      this.next = true;
      return;
    }
    this.waiting = true;
    this.next = false;
    const columns = Math.max(100, Math.min(2000, Math.round(this.plot())));
    this.ask([...this.span], columns, (view) => {
      this.waiting = false;
      this.take(view);
      if (this.next) this.refresh();
    });
  }

  take(view) {
    this.view = view;
    this.image = this.paint(view);
    this.draw();
    this.root.dataset.shown = `${view.start} ${view.end}`;
  }

  hear(start) {
    const begin = Math.min(Math.max(start, this.whole[0]), this.whole[1] - SHORTEST);
    const end = Math.min(begin + LONGEST_CLIP, this.whole[1]);
    const asked = performance.now();
    this.send({ kind: "sound", start: begin, end }, (content, buffers) => {
      if (this.url) URL.revokeObjectURL(this.url);
      this.url = URL.createObjectURL(new Blob([buffers[0]], { type: "audio/wav" }));
      this.clip = content.start;
      this.audio.src = this.url;
      this.audio.play().then(
        () => {
          this.root.dataset.heard = `${content.start} ${performance.now() - asked}`;
        },
        (error) => {
          if (error.name === "AbortError") return; // another moment is heard in its place
          this.complain("the browser wants a click on the player before it plays");
        },
      );
    });
  }

  // ---- moving about

  show(start, end, { tell = true } = {}) {
    const [first, last] = this.whole;
    const length = Math.min(Math.max(end - start, SHORTEST), last - first);
    const begin = Math.min(Math.max((start + end - length) / 2, first), last - length);
    this.span = [begin, begin + length];
    if (tell) {
      clearTimeout(this.telling);
      this.telling = setTimeout(() => {
        this.model.set("span", [...this.span]);
        this.model.save_changes();
      }, 150);
    }
    this.refresh();
  }

  zoom(factor, around = this.cursor ?? (this.span[0] + this.span[1]) / 2) {
    const [start, end] = this.span;
    this.show(around - (around - start) * factor, around + (end - around) * factor);
  }

  move(share) {
    const by = (this.span[1] - this.span[0]) * share;
    this.show(this.span[0] + by, this.span[1] + by);
  }

  /** Go to the next gap (1) or the last one (-1). */
  step(way) {
    const gaps = this.facts.gaps;
    const here = this.gap ?? (way > 0 ? -1 : gaps.length);
    if (gaps.length) this.goto(Math.min(Math.max(here + way, 0), gaps.length - 1));
  }

  goto(at) {
    this.gap = at;
    const { start, end } = this.facts.gaps[at];
    const around = Math.max(5, (end - start) * 1.5);
    this.show(start - around, end + around);
    for (const row of this.list.querySelectorAll("tr")) {
      row.style.background = row.dataset.gap === String(at) ? "#8884" : "";
    }
    this.hear(start - 2);
  }

  mark() {
    const time = this.cursor ?? this.playhead ?? (this.span[0] + this.span[1]) / 2;
    this.setMarks([...this.model.get("marked"), { time, label: "" }]);
  }

  setMarks(marks) {
    marks.sort((a, b) => a.time - b.time);
    this.model.set("marked", marks);
    this.model.save_changes();
  }

  // ---- what a person does

  listen() {
    this.questions = new Map();
    this.onMessage = (content, buffers) => this.answered(content, buffers);
    this.onModel = () => this.fromModel();
    this.onSpan = () => {
      const [start, end] = this.model.get("span");
      const near = (a, b) => Math.abs(a - b) < 1e-6;
      if (!near(start, this.span[0]) || !near(end, this.span[1])) this.show(start, end, { tell: false });
    };
    this.model.on("msg:custom", this.onMessage);
    this.model.on("change:marked", this.onModel);
    this.model.on("change:span", this.onSpan);
    this.sizes = new ResizeObserver(() => {
      this.hideStill();
      this.refresh();
    });
    this.sizes.observe(this.canvas);
    this.themes = new MutationObserver(() => this.draw());
    this.themes.observe(document.body, { attributes: true });

    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return this.time(event.clientX - box.left);
    };
    let grabbed = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.root.focus({ preventScroll: true });
      grabbed = { x: event.clientX, span: [...this.span], moved: false };
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      this.pointer = event.clientX - this.canvas.getBoundingClientRect().left;
      if (grabbed) {
        const by = event.clientX - grabbed.x;
        grabbed.moved ||= Math.abs(by) > 4;
        if (grabbed.moved) {
          const seconds = (-by / this.plot()) * (grabbed.span[1] - grabbed.span[0]);
          this.show(grabbed.span[0] + seconds, grabbed.span[1] + seconds);
        }
      }
      this.draw();
    });
    this.canvas.addEventListener("pointerup", (event) => {
      if (grabbed && !grabbed.moved) this.hear(at(event));
      grabbed = null;
    });
    this.canvas.addEventListener("pointercancel", () => (grabbed = null));
    this.canvas.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.draw();
    });
    this.canvas.addEventListener("dblclick", (event) => this.zoom(0.25, at(event)));
    this.canvas.addEventListener(
      "wheel",
      (event) => {
        if (!this.root.contains(document.activeElement)) return; // the page scrolls
        event.preventDefault();
        this.zoom(Math.exp(Math.max(-300, Math.min(300, event.deltaY)) / 300), at(event));
      },
      { passive: false },
    );
    const jump = (event) => {
      const box = this.map.getBoundingClientRect();
      const share = (event.clientX - box.left - LEFT) / this.plot();
      const middle = this.whole[0] + share * (this.whole[1] - this.whole[0]);
      const half = (this.span[1] - this.span[0]) / 2;
      this.show(middle - half, middle + half);
    };
    this.map.addEventListener("pointerdown", (event) => {
      this.map.setPointerCapture(event.pointerId);
      jump(event);
    });
    this.map.addEventListener("pointermove", (event) => event.buttons && jump(event));

    const keys = {
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
      ArrowLeft: () => this.move(-0.25), ArrowRight: () => this.move(0.25),
      ArrowUp: () => this.zoom(0.5), ArrowDown: () => this.zoom(2),
      Home: () => this.show(...this.whole), n: () => this.step(1), p: () => this.step(-1),
      m: () => this.mark(),
      " ": () => {
        if (!this.audio.paused) this.audio.pause();
        else this.hear(this.cursor ?? this.span[0]);
      },
    };
    this.root.addEventListener("keydown", (event) => {
      const action = keys[event.key];
      if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.tagName === "INPUT") return;
      if (event.target.tagName === "BUTTON" && event.key === " ") return;
      event.preventDefault();
      event.stopPropagation(); // or the notebook would take it for a command of its own
      action();
    });
    const follow = () => {
      if (this.audio.paused || this.clip === null) return;
      this.playhead = this.clip + this.audio.currentTime;
      this.draw();
      requestAnimationFrame(follow);
    };
    this.audio.addEventListener("play", follow);
  }

  close() {
    this.sizes.disconnect();
    this.themes.disconnect();
    this.outputs?.disconnect();
    if (this.still) this.still.style.display = "";
    this.audio.pause();
    if (this.url) URL.revokeObjectURL(this.url);
    this.model.off("msg:custom", this.onMessage);
    this.model.off("change:marked", this.onModel);
    this.model.off("change:span", this.onSpan);
  }

  fromModel() {
    this.listMarks();
    this.draw();
  }

  // ---- lists

  listGaps() {
    const { gaps, gapsInAll } = this.facts;
    if (!gaps.length) return;
    const rows = gaps.map((gap, at) => {
      const cell = (text, style = "") =>
        make("td", { textContent: text, style: `padding:0 14px 0 0;text-align:left;white-space:nowrap;${style}` });
      const dot = make("span", { textContent: "■ ", style: `color:${gap.color}` });
      const cause = cell("");
      cause.append(dot, gap.cause);
      const row = make(
        "tr",
        { tabIndex: 0, style: "cursor:pointer" },
        cell(clock(gap.start)), cell(`${(gap.end - gap.start).toFixed(3)} s`, "text-align:right"), cause,
        cell(gap.evidence, "white-space:normal"),
      );
      row.dataset.gap = at;
      row.addEventListener("click", () => this.goto(at));
      row.addEventListener("keydown", (event) => event.key === "Enter" && this.goto(at));
      return row;
    });
    const cut = gaps.length < gapsInAll ? `, the ${gaps.length.toLocaleString()} longest` : "";
    const head = `${gapsInAll.toLocaleString()} gap${gapsInAll === 1 ? "" : "s"}${cut}: click one to hear it`;
    this.list.append(
      make("div", { textContent: head, style: "margin-top:4px" }),
      make(
        "div",
        { style: "max-height:11em;overflow-y:auto" },
        make("table", { style: "border-collapse:collapse;font-variant-numeric:tabular-nums" },
          make("tbody", {}, ...rows)),
      ),
    );
  }

  listMarks() {
    const marks = this.model.get("marked");
    const rows = marks.map((mark, at) => {
      const without = () => marks.filter((_, other) => other !== at);
      const label = make("input", { value: mark.label, placeholder: "what is it?", maxLength: 200 });
      label.addEventListener("change", () => this.setMarks([...without(), { ...mark, label: label.value }]));
      const go = make("a", { textContent: clock(mark.time), href: "#", style: "margin-right:8px" });
      go.addEventListener("click", (event) => {
        event.preventDefault();
        const half = (this.span[1] - this.span[0]) / 2;
        this.show(mark.time - half, mark.time + half);
      });
      const drop = make("button", { textContent: "×", type: "button", title: "remove this mark" });
      drop.addEventListener("click", () => this.setMarks(without()));
      return make("div", {}, go, label, drop);
    });
    this.marked.replaceChildren(...rows);
  }

  /** Say which times of speech are not drawn. */
  leftOut() {
    const { talks, talksInAll } = this.facts;
    if (talks.length === talksInAll) return [];
    const [drawn, all] = [talks.length.toLocaleString(), talksInAll.toLocaleString()];
    const textContent = `${all} times of speech: the ${drawn} longest are drawn`;
    return [make("div", { className: "rl-left-out", style: "opacity:.7;font-size:12px", textContent })];
  }

  say(text) {
    if (this.readout.textContent !== text) this.readout.textContent = text;
  }

  /** Say what went wrong, until the pointer moves over the picture. */
  complain(text) {
    this.said = text;
    this.pointer = null;
    this.draw();
  }

  // ---- drawing

  /** Return the time under the pointer, or null. */
  get cursor() {
    return this.pointer === null ? null : this.time(this.pointer);
  }

  plot() {
    return Math.max(this.canvas.clientWidth - LEFT - RIGHT, 10);
  }

  time(x) {
    return this.span[0] + ((x - LEFT) / this.plot()) * (this.span[1] - this.span[0]);
  }

  x(time, span = this.span) {
    return LEFT + ((time - span[0]) / (span[1] - span[0])) * this.plot();
  }

  /** Return the spectrogram of a view as a picture of its own, a pixel a column. */
  paint(view) {
    if (!view.count) return null;
    const picture = make("canvas", { width: view.count, height: view.bins });
    const context = picture.getContext("2d");
    const image = context.createImageData(view.count, view.bins);
    const pixels = new Uint32Array(image.data.buffer);
    for (let column = 0; column < view.count; column++) {
      for (let bin = 0; bin < view.bins; bin++) {
        const at = (view.bins - 1 - bin) * view.count + column;
        pixels[at] = this.colors[view.codes[column * view.bins + bin]];
      }
    }
    context.putImageData(image, 0, 0);
    return picture;
  }

  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      this.drawPicture();
      this.drawMap();
      this.tell();
    });
  }

  /** Return a canvas' context, in CSS pixels, and the colour of text. */
  fresh(canvas, height) {
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px sans-serif";
    return [context, getComputedStyle(this.root).color];
  }

  drawPicture() {
    const [context, ink] = this.fresh(this.canvas, this.lanes.height);
    const width = this.plot();
    const { view } = this;
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, width, this.lanes.height);
    context.clip();
    for (const [top, bottom] of [this.lanes.wave, this.lanes.spectrum]) {
      context.fillStyle = "#80808022";
      context.fillRect(LEFT, top, width, bottom - top);
    }
    if (view) {
      const peak = this.drawWave(context, view, this.lanes.wave, this.span);
      if (this.image) {
        context.imageSmoothingEnabled = view.count > width;
        const [top, bottom] = this.lanes.spectrum;
        const left = this.x(view.start);
        context.drawImage(this.image, left, top, this.x(view.end) - left, bottom - top);
      }
      this.drawMissing(context, view);
      context.restore();
      context.fillStyle = ink;
      context.textAlign = "right";
      context.fillText(peak >= 0.001 ? `±${peak.toPrecision(1)}` : "±0", LEFT - 6, this.lanes.wave[0] + 10);
      context.save();
      context.beginPath();
      context.rect(LEFT, 0, width, this.lanes.height);
      context.clip();
    }
    if (this.lanes.words && view) this.drawWords(context, view, ink);
    if (this.lanes.talks) this.drawTalks(context);
    this.drawGaps(context, this.lanes.gaps);
    for (const { time, label } of this.model.get("marked")) {
      this.line(context, time, "#CC79A7", 0, this.lanes.gaps[1]);
      context.fillStyle = "#CC79A7";
      context.textAlign = "left";
      context.fillText(label.slice(0, 30), this.x(time) + 3, this.lanes.wave[0] + 10);
    }
    if (this.cursor !== null) this.line(context, this.cursor, ink, 0, this.lanes.gaps[1]);
    if (this.playhead !== null && !this.audio.paused) {
      this.line(context, this.playhead, "#56B4E9", 0, this.lanes.gaps[1]);
    }
    context.restore();
    this.drawAxes(context, ink);
  }

  drawWave(context, view, [top, bottom], span) {
    let peak = 0.001;
    for (let at = 0; at < view.count; at++) {
      const inside = view.start + (at + 1) * view.width > span[0] && view.start + at * view.width < span[1];
      if (inside) peak = Math.max(peak, view.high[at] || 0, -view.low[at] || 0);
    }
    const middle = (top + bottom) / 2;
    const scale = (bottom - top) / 2 / peak;
    context.fillStyle = "#0072B2";
    for (let at = 0; at < view.count; at++) {
      if (Number.isNaN(view.high[at])) continue;
      const x = this.x(view.start + at * view.width, span);
      const wide = Math.max(this.x(view.start + (at + 1) * view.width, span) - x, 0.8);
      const y = middle - view.high[at] * scale;
      context.fillRect(x, y, wide, Math.max(middle - view.low[at] * scale - y, 1));
    }
    return peak;
  }

  /** Hatch what is missing between the first packet and the last. */
  drawMissing(context, view) {
    const [top, bottom] = [this.lanes.wave[0], this.lanes.spectrum[1]];
    context.strokeStyle = "#80808090";
    context.fillStyle = "#80808030";
    for (let at = 0; at < view.count; ) {
      if (view.missing[at] < 0.5) {
        at++;
        continue;
      }
      const first = at;
      while (at < view.count && view.missing[at] >= 0.5) at++;
      const from = Math.max(view.start + first * view.width, this.whole[0]);
      const to = Math.min(view.start + at * view.width, this.whole[1]);
      if (to <= from) continue;
      const [left, right] = [this.x(from), this.x(to)];
      context.save();
      context.beginPath();
      context.rect(left, top, right - left, bottom - top);
      context.fill();
      context.clip();
      context.beginPath();
      const begin = Math.max(left, LEFT) - (bottom - top);
      for (let x = begin; x < Math.min(right, LEFT + this.plot()); x += 8) {
        context.moveTo(x, bottom);
        context.lineTo(x + bottom - top, top);
      }
      context.stroke();
      context.restore();
    }
  }

  /** Draw a row for each who speaks. */
  drawTalks(context) {
    const [top] = this.lanes.talks;
    for (const { row, start, end } of this.facts.talks) {
      const x = this.x(start);
      context.fillStyle = this.facts.people[row].color;
      context.fillRect(x, top + row * TALK_ROW + 1, Math.max(this.x(end) - x, 0.5), TALK_ROW - 2);
    }
  }

  /** Write what is said where there is room for it, each text at a mark in its speaker's color. */
  drawWords(context, view, ink) {
    const [top, bottom] = this.lanes.words;
    const words = view.words.filter(({ start }) => this.span[0] <= start && start < this.span[1]);
    const laid = this.laid(context, words);
    context.textAlign = "left";
    for (const { x, line, text, row } of laid) {
      const y = top + line * WORD_LINE;
      context.fillStyle = this.facts.people[row]?.color ?? ink;
      context.fillRect(x, y + 1, 2, WORD_LINE - 2);
      context.fillStyle = ink;
      context.fillText(text, x + 4, y + WORD_LINE - 4);
    }
    const many = Math.max(words.length, view.words.length ? 0 : view.wordsInView);
    if (laid.length || !many) return;
    context.save();
    context.globalAlpha = 0.7;
    context.fillStyle = ink;
    const said = `${many.toLocaleString()} words: zoom in to read them`;
    context.fillText(said, LEFT + 4, (top + bottom) / 2 + 4);
    context.restore();
  }

  /** Say where words are written: each at its time, or utterance by utterance, cut to the room. */
  laid(context, words) {
    const right = LEFT + this.plot();
    const free = Array(WORD_LINES).fill(-Infinity);
    const each = [];
    for (const word of words) {
      const x = this.x(word.start);
      const line = free.findIndex((at) => at <= x);
      if (line < 0) break;
      free[line] = x + context.measureText(word.text).width + 10;
      each.push({ ...word, x, line });
    }
    if (each.length === words.length) return each;
    const said = new Map();
    for (const word of words) {
      const begun = said.get(word.utterance);
      if (begun) begun.text += (word.blank ? " " : "") + word.text;
      else said.set(word.utterance, { ...word, x: this.x(word.start) });
    }
    const all = [...said.values()];
    const roomy = all.flatMap((one, at) => {
      const room = (all[at + WORD_LINES]?.x ?? right) - one.x - 10;
      return room < LEAST_TEXT ? [] : [{ ...one, line: at % WORD_LINES, room }];
    });
    if (roomy.length < 0.6 * all.length) return [];
    return roomy.map((one) => ({ ...one, text: fitted(context, one.text, one.room) }));
  }

  drawGaps(context, [top, bottom], span = this.span) {
    const [start, end] = this.whole;
    context.fillStyle = "#0072B2";
    context.fillRect(this.x(start, span), top, this.x(end, span) - this.x(start, span), bottom - top);
    for (const gap of this.facts.gaps) {
      const x = this.x(gap.start, span);
      context.fillStyle = gap.color;
      context.fillRect(x, top, Math.max(this.x(gap.end, span) - x, 1), bottom - top);
    }
  }

  drawAxes(context, ink) {
    const [start, end] = this.span;
    const step = STEPS.find((s) => (end - start) / s <= this.plot() / 90) ?? STEPS.at(-1);
    const decimals = step < 0.1 ? 2 : step < 1 ? 1 : 0;
    context.fillStyle = context.strokeStyle = ink;
    context.textAlign = "center";
    for (let at = Math.ceil(start / step); at * step <= end; at++) {
      const x = this.x(at * step);
      context.fillRect(x, this.lanes.gaps[1], 1, 4);
      if (x > LEFT + 20 && x < LEFT + this.plot() - 20) {
        context.fillText(clock(at * step, decimals), x, this.lanes.axis[1] - 3);
      }
    }
    context.textAlign = "right";
    const [top, bottom] = this.lanes.spectrum;
    for (const kilohertz of [0, 2, 4, 6, 8]) {
      const y = bottom - ((bottom - top) * kilohertz) / 8;
      context.fillText(kilohertz ? `${kilohertz} kHz` : "0", LEFT - 6, Math.min(Math.max(y + 4, top + 9), bottom));
    }
    context.fillText("gaps", LEFT - 6, this.lanes.gaps[0] + 13);
    if (this.lanes.words) context.fillText("words", LEFT - 6, this.lanes.words[0] + WORD_LINE + 3);
    if (!this.lanes.talks) return;
    context.font = "10px sans-serif";
    this.facts.people.forEach(({ name }, row) => {
      const y = this.lanes.talks[0] + (row + 1) * TALK_ROW - 2;
      context.fillText(fitted(context, name, LEFT - 8), LEFT - 6, y);
    });
  }

  drawMap() {
    const [context, ink] = this.fresh(this.map, MINIMAP);
    if (this.overall) this.drawWave(context, this.overall, [2, MINIMAP - 10], this.whole);
    this.drawGaps(context, [MINIMAP - 8, MINIMAP - 3], this.whole);
    const left = Math.max(this.x(this.span[0], this.whole), LEFT);
    const right = Math.min(this.x(this.span[1], this.whole), LEFT + this.plot());
    context.strokeStyle = ink;
    context.fillStyle = "#80808030";
    context.fillRect(left, 0, Math.max(right - left, 2), MINIMAP);
    context.strokeRect(left + 0.5, 0.5, Math.max(right - left - 1, 1), MINIMAP - 1);
  }

  line(context, time, color, top, bottom) {
    context.fillStyle = color;
    context.fillRect(this.x(time) - 0.5, top, 1, bottom - top);
  }

  /** Say what is under the pointer: its time on all clocks, its level, who speaks. */
  tell() {
    const { view, cursor } = this;
    if (cursor === null) this.say(this.said ?? "point at the picture: time on all clocks, level");
    if (!view || cursor === null) return;
    this.said = null;
    const place = (cursor - view.start) / view.width;
    const at = Math.floor(place);
    const between = (values) =>
      at < 0 || at + 1 >= values.length ? NaN : values[at] + (values[at + 1] - values[at]) * (place - at);
    const facts = [`${clock(cursor)} (${cursor.toFixed(3)} s) relative`];
    if (view.absolute.length) {
      facts.push(`absolute ${wall(between(view.absolute))}`, `received ${wall(between(view.received))} UTC`);
    }
    const level = view.rms[at];
    const gap = this.facts.gaps.find((one) => one.start <= cursor && cursor < one.end);
    if (gap) facts.push(`missing: ${gap.cause}`);
    else if (level !== undefined && !Number.isNaN(level)) {
      facts.push(level === -Infinity ? "digital silence" : `${level.toFixed(1)} dBFS`);
    }
    const rows = this.facts.talks.filter(({ start, end }) => start <= cursor && cursor < end);
    const names = new Set(rows.map(({ row }) => this.facts.people[row].name));
    if (names.size) facts.push(`speaking: ${[...names].join(", ")}`);
    this.say(facts.join("   "));
  }
}

/** Return columns as they come from the kernel: facts, and arrays as bytes. */
function unpacked({ start, width, count, bins, words, wordsInView }, buffers) {
  const floats = (at) => new Float32Array(aligned(buffers[at]));
  const doubles = (at) => new Float64Array(aligned(buffers[at]));
  return {
    start, width, count, bins, words, wordsInView, end: start + width * count,
    codes: new Uint8Array(aligned(buffers[0])),
    low: floats(1), high: floats(2), rms: floats(3), missing: floats(4),
    absolute: doubles(5), received: doubles(6),
  };
}

/** Return a buffer's bytes where arrays of any kind can look at them. */
function aligned(view) {
  return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
}

/** Return the colour of each code as pixels: six hexadecimal digits a colour; code 0 is nothing. */
function palette(digits) {
  const colors = new Uint32Array(256);
  for (let code = 1; code < 256; code++) {
    const rgb = parseInt(digits.slice(6 * code, 6 * code + 6), 16);
    const [red, green, blue] = [(rgb >> 16) & 255, (rgb >> 8) & 255, rgb & 255];
    colors[code] = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  }
  return colors;
}

function render({ model, el }) {
  const explorer = new Explorer(model, el);
  return () => explorer.close();
}

export default { render };
