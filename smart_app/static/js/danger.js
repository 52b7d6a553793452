// Shows the danger panel as soon as a danger sign is answered with yes.
const panel = document.getElementById("danger");
const show = () => {
  panel.hidden = !document.querySelector('input[data-danger][value="yes"]:checked');
};
document.addEventListener("change", show);
show();
