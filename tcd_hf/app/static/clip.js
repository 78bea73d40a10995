// The opened clip: player, timeline, moments, transcript. All is fetched as HTML in which the server has escaped all data.
const FILTER_PAUSE = 150; // milliseconds without a key, after which the transcript is filtered
const part = (selector) => element.querySelector(selector);
let opened = 0;

async function fetchHtml(address) {
  try {
    const response = await fetch(address);
    const content = await response.text();
    if (!response.ok) throw new Error(content);
    return content;
  } catch (error) {
    const message = document.createElement("div");
    message.className = "message";
    message.textContent = error.message || "The server does not answer.";
    return message.outerHTML;
  }
}

async function open({ moment, byHand }) {
  const number = ++opened;
  if (part(".clip")?.dataset.clip !== moment.clip || !part("video")) {
    const content = await fetchHtml(moment.clip);
    if (number !== opened) return; // another one was chosen meanwhile
    part("#clip").innerHTML = content;
    if (part("#transcript")) {
      fill(".timeline-part");
      fill("#transcript", { around: moment.start });
    }
  }
  jump(moment);
  if (byHand && part("#clip").getBoundingClientRect().top > window.innerHeight * 0.6) {
    part("#clip").scrollIntoView({ behavior: "smooth" });
  }
}

function close() {
  opened++;
  part("#clip").replaceChildren();
}

// Fetches a part of the clip; of several questions for one part the last counts.
async function fill(selector, parameters = {}) {
  const place = part(selector);
  const address = new URL(place.dataset.part, document.baseURI);
  Object.entries(parameters).forEach(([name, value]) => address.searchParams.set(name, value));
  place.asked = address.href;
  const content = await fetchHtml(address);
  if (place.asked !== address.href || !place.isConnected) return;
  place.asked = undefined;
  place.innerHTML = content;
  follow();
  reveal();
}

const time = () => part("video")?.currentTime ?? 0;

// Scrolls both lists to where the player is, but for one that somebody is in.
function reveal() {
  element.querySelectorAll(".all-moments ol, .cues").forEach((list) => {
    const row = [...list.querySelectorAll(".moment, .cue")].find((button) => Number(button.dataset.end) > time() + 0.001);
    if (row && !list.contains(document.activeElement)) list.scrollTop = row.offsetTop - list.offsetTop - 40;
  });
}

function jump(moment) {
  const video = part("video");
  const picture = part(".evidence");
  if (!video) return;
  video.dataset.start = moment.start;
  video.currentTime = Number(moment.start);
  picture.hidden = false;
  picture.parentElement.querySelector(".unplayable").hidden = true;
  picture.src = moment.picture;
  picture.alt = picture.parentElement.querySelector("figcaption").textContent = moment.shown;
  follow();
  reveal();
}

// A click on the timeline is a time: as far from its left as the moment is from the beginning.
function jumpOnTimeline(timeline, event) {
  const place = timeline.getBoundingClientRect();
  const share = Math.min(Math.max((event.clientX - place.left) / place.width, 0), 1);
  const start = (share * Number(timeline.dataset.duration)).toFixed(3);
  const picture = new URL(timeline.dataset.picture, document.baseURI);
  picture.searchParams.set("start", start);
  jump({ start, picture: picture.href, shown: timeline.dataset.shown });
}

// Shows where the player is: on the timeline, in the list of moments, and in the transcript.
function follow() {
  const now = time() + 0.001;
  element.querySelectorAll(".mark, .moment, .cue").forEach((button) => {
    const isNow = Number(button.dataset.start) <= now && now < Number(button.dataset.end);
    button.classList.toggle("now", isNow);
    if (isNow) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
  const timeline = part(".timeline");
  if (timeline) {
    const share = Math.min(now / Number(timeline.dataset.duration), 1);
    timeline.querySelector(".playhead").style.left = `${100 * share}%`;
  }
  const { start, end } = part(".cues")?.dataset ?? {}; // set if these are only some of all
  const isElsewhere = start && !(Number(start) <= now && now < Number(end));
  if (isElsewhere && !part("#transcript").asked) fill("#transcript", { around: time() });
}

// Arrow keys go from mark to mark; the one that was left last is where the Tab key comes back to.
function moveOnTimeline(mark, event) {
  const marks = [...mark.parentElement.querySelectorAll(".mark")];
  const place = marks.indexOf(mark);
  const next = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: marks.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  marks[Math.min(Math.max(next, 0), marks.length - 1)].focus();
}

element.addEventListener("click", (event) => {
  const button = event.target.closest(".mark, .moment, .cue");
  const timeline = event.target.closest(".timeline");
  if (button) jump(button.dataset);
  else if (timeline) jumpOnTimeline(timeline, event);
  if (event.target.closest(".back")) document.dispatchEvent(new CustomEvent("clip:back"));
  else if (button && part("video")) part("video").scrollIntoView({ behavior: "smooth", block: "nearest" });
});
element.addEventListener("keydown", (event) => event.target.matches(".mark") && moveOnTimeline(event.target, event));
element.addEventListener("focusin", (event) => {
  if (!event.target.matches(".mark")) return;
  event.target.parentElement.querySelectorAll(".mark").forEach((mark) => { mark.tabIndex = mark === event.target ? 0 : -1; });
});

let waiting;
element.addEventListener("input", (event) => {
  if (!event.target.matches("#find")) return;
  clearTimeout(waiting);
  const filter = event.target.value;
  waiting = setTimeout(() => part("#transcript") && fill("#transcript", filter ? { filter } : { around: time() }), FILTER_PAUSE);
});

document.addEventListener("clip:open", (event) => open(event.detail));
document.addEventListener("clip:close", close);
// Events of media do not bubble: they are caught on their way down.
element.addEventListener("loadedmetadata", (event) => {
  const start = Number(event.target.dataset.start);
  if (event.target.currentTime === 0 && start) event.target.currentTime = start; // where a time given before is lost
}, true);
element.addEventListener("timeupdate", follow, true);
element.addEventListener("error", (event) => {
  const notice = event.target.parentElement?.querySelector(".unplayable");
  event.target.hidden = true;
  if (notice) notice.hidden = false;
}, true);
