// The list of hits and the clip beside it. What is shown is fetched as HTML in which the server has escaped all data.
const panel = () => document.getElementById("clip");
let asked = 0;

async function open(button, byHand) {
  const hit = button.closest("li").querySelector(".hit");
  const number = ++asked;
  element.querySelectorAll(".hit").forEach((other) => other.setAttribute("aria-pressed", other === hit));
  element.querySelectorAll(".moment").forEach((other) => other.classList.toggle("now", other === button));
  let content;
  try {
    const response = await fetch(button.dataset.clip);
    content = await response.text();
    if (!response.ok) throw new Error(content);
  } catch (error) {
    content = document.createElement("div");
    content.className = "message";
    content.textContent = error.message || "The server does not answer.";
    content = content.outerHTML;
  }
  if (number !== asked) return; // another one was chosen meanwhile
  panel().innerHTML = content;
  const best = panel().querySelector(".window.best");
  if (best) best.closest("ol").scrollTop = best.offsetTop - best.closest("ol").offsetTop - 60;
  if (byHand && panel().getBoundingClientRect().top > window.innerHeight * 0.6) {
    panel().scrollIntoView({ behavior: "smooth" });
  }
}

function seek(seconds, source, shown) {
  const video = panel().querySelector("video");
  const picture = panel().querySelector(".evidence");
  if (!video) return;
  video.currentTime = seconds;
  picture.hidden = false;
  picture.parentElement.querySelector(".unplayable").hidden = true;
  picture.src = source;
  picture.alt = picture.parentElement.querySelector("figcaption").textContent = shown;
}

// A click on the strip is a time: as far from its left as the moment is from the beginning.
function seekOnStrip(strip, event) {
  const place = strip.getBoundingClientRect();
  const share = Math.min(Math.max((event.clientX - place.left) / place.width, 0), 1);
  const seconds = (share * Number(strip.dataset.duration)).toFixed(3);
  const picture = new URL(strip.dataset.picture, document.baseURI);
  picture.searchParams.set("start", seconds);
  seek(Number(seconds), picture.href, event.target.matches(".match") ? strip.dataset.match : strip.dataset.other);
}

function follow(video) {
  const now = video.currentTime + 0.001;
  panel().querySelectorAll(".window").forEach((row) => {
    row.classList.toggle("now", Number(row.dataset.start) <= now && now < Number(row.dataset.end));
  });
  const strip = panel().querySelector(".strip");
  const share = Math.min(video.currentTime / Number(strip.dataset.duration), 1);
  strip.querySelector(".playhead").style.left = `${100 * share}%`;
}

element.addEventListener("click", (event) => {
  const button = event.target.closest(".hit, .moment");
  if (button) open(button, true);
});

watch("value", () => {
  const first = element.querySelector(".hit");
  if (first) open(first, false);
  else {
    asked++;
    panel().replaceChildren();
  }
});

const inPanel = (event) => panel() && panel().contains(event.target);
document.addEventListener("click", (event) => {
  const row = inPanel(event) && event.target.closest(".window");
  if (row) seek(Number(row.dataset.start), row.dataset.picture, row.dataset.shown);
  const strip = inPanel(event) && event.target.closest(".strip");
  if (strip) seekOnStrip(strip, event);
  if (inPanel(event) && event.target.closest(".back")) {
    const hit = element.querySelector('.hit[aria-pressed="true"]');
    hit.focus({ preventScroll: true });
    hit.scrollIntoView({ behavior: "smooth", block: "center" });
  }
});
// Events of media do not bubble: they are caught on their way down.
document.addEventListener("loadedmetadata", (event) => {
  if (inPanel(event) && event.target.currentTime === 0) event.target.currentTime = Number(event.target.dataset.start);
}, true);
document.addEventListener("timeupdate", (event) => inPanel(event) && follow(event.target), true);
document.addEventListener("load", (event) => {
  if (element.contains(event.target)) event.target.hidden = false;
}, true);
document.addEventListener("error", (event) => {
  if (!(event.target instanceof HTMLElement)) return;
  if (element.contains(event.target)) event.target.hidden = true; // a thumbnail that cannot be drawn
  if (inPanel(event)) {
    event.target.hidden = true;
    event.target.parentElement.querySelector(".unplayable").hidden = false;
  }
}, true);
