// The list of hits and the clip beside it. What is shown is fetched as HTML in which the server has escaped all data.
const panel = () => document.getElementById("clip");
let asked = 0;

async function open(hit, byHand) {
  const number = ++asked;
  element.querySelectorAll(".hit").forEach((other) => other.setAttribute("aria-pressed", other === hit));
  let content;
  try {
    const response = await fetch(hit.dataset.clip);
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
  const strip = panel().querySelector(".window.best");
  if (strip) strip.parentElement.parentElement.scrollTop = strip.offsetTop - strip.parentElement.parentElement.offsetTop - 60;
  if (byHand && panel().getBoundingClientRect().top > window.innerHeight * 0.6) {
    panel().scrollIntoView({ behavior: "smooth" });
  }
}

function seek(chosen) {
  const video = panel().querySelector("video");
  const picture = panel().querySelector(".evidence");
  if (!video) return;
  video.currentTime = Number(chosen.dataset.start);
  picture.hidden = false;
  picture.parentElement.querySelector(".unplayable").hidden = true;
  picture.src = chosen.dataset.picture;
  picture.alt = picture.parentElement.querySelector("figcaption").textContent = chosen.dataset.shown;
}

function follow(video) {
  const now = video.currentTime + 0.001;
  let current = null;
  panel().querySelectorAll(".window").forEach((row) => {
    if (Number(row.dataset.start) <= now && now < Number(row.dataset.end)) current = row;
  });
  panel().querySelectorAll(".window, .segment").forEach((part) => {
    part.classList.toggle("now", current !== null && part.dataset.start === current.dataset.start);
  });
}

element.addEventListener("click", (event) => {
  const hit = event.target.closest(".hit");
  if (hit) open(hit, true);
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
  const chosen = inPanel(event) && event.target.closest("[data-picture]");
  if (chosen) seek(chosen);
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
