// Sends the chosen files one after the other, then asks the server to read them.
const sent = () => element.querySelector(".sent");
const hidden = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu; // control characters, and marks that turn what follows
const spelt = (character) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0");
const tell = (text) => { sent().textContent = text.replace(hidden, spelt); };

async function send(files) {
  const most = Number(sent().dataset.most);
  const megabytes = Number(sent().dataset.megabytes);
  const names = [];
  const refused = [];
  if (files.length > most) refused.push(`Only the first ${most} files are taken.`);
  for (const file of [...files].slice(0, most)) {
    if (file.size > megabytes * 1e6) {
      refused.push(`${file.name} is larger than ${megabytes} MB.`);
      continue;
    }
    tell(`Sending ${file.name} ...`);
    try {
      const response = await fetch(`upload/${encodeURIComponent(file.name)}`, { method: "PUT", body: file });
      if (response.ok) names.push((await response.json()).name);
      else refused.push(await response.text());
    } catch {
      refused.push(`${file.name} could not be sent.`);
    }
  }
  tell([`${names.length} sent.`, ...refused].join(" "));
  if (names.length) trigger("upload", { names });
}

element.addEventListener("change", (event) => {
  send([...event.target.files]);
  event.target.value = "";
});
["dragover", "drop"].forEach((name) => element.addEventListener(name, (event) => event.preventDefault()));
element.addEventListener("drop", (event) => send([...event.dataTransfer.files]));
