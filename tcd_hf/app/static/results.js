// The list of hits. What is chosen is told to the opened clip beside it, see clip.js.
const tell = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));

function open(button, byHand) {
  const hit = button.closest("li").querySelector(".hit");
  element.querySelectorAll(".hit").forEach((other) => other.setAttribute("aria-pressed", other === hit));
  element.querySelectorAll(".moment").forEach((other) => other.classList.toggle("now", other === button));
  tell("clip:open", { moment: { ...button.dataset }, byHand });
}

element.addEventListener("click", (event) => {
  const button = event.target.closest(".hit, .moment");
  if (button) open(button, true);
});

watch("value", () => {
  const first = element.querySelector(".hit");
  if (first) open(first, false);
  else tell("clip:close");
});

document.addEventListener("clip:back", () => {
  const hit = element.querySelector('.hit[aria-pressed="true"]');
  hit.focus({ preventScroll: true });
  hit.scrollIntoView({ behavior: "smooth", block: "center" });
});

// Events of pictures do not bubble: they are caught on their way down.
element.addEventListener("load", (event) => { event.target.hidden = false; }, true);
element.addEventListener("error", (event) => { event.target.hidden = true; }, true); // a thumbnail that cannot be drawn
