// Small behaviours of pages; everything works without them but copying.
document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["x-csrf-token"] = document.body.dataset.csrf;
});
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
  button.classList.add("done");
});
