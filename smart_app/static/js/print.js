// Opens the print dialog; without scripts the browser's own print command does the same.
const button = document.querySelector("[data-print]");
button.hidden = false;
button.addEventListener("click", () => window.print());
