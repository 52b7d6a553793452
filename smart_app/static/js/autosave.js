// Keeps the draft of a form on the server while it is being filled in.
const PAUSE = 1500;
const form = document.querySelector("form[data-autosave]");
const said = document.getElementById("saved");

if (form) {
  let timer = 0;
  let saving = Promise.resolve();

  const save = async () => {
    try {
      const answer = await fetch(form.dataset.autosave, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        headers: { accept: "application/json" },
        credentials: "same-origin",
      });
      said.textContent = answer.ok ? said.dataset.saved : said.dataset.failed;
    } catch {
      said.textContent = said.dataset.failed;
    }
  };

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => { saving = saving.then(save); }, PAUSE);
  });
  // A save that arrives after the form itself could bring back old answers.
  form.addEventListener("submit", () => clearTimeout(timer));
}
