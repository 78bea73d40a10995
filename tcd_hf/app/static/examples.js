// A click on an example searches for it.
element.addEventListener("click", (event) => {
  const example = event.target.closest(".example");
  if (example) trigger("select", { query: example.textContent });
});
