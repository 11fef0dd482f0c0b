// Opens links marked data-dialog in a dialog over the page. Without this script, or where it fails, they are pages.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-dialog]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const answer = await fetch(link.href, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (!answer?.ok || answer.status === 204) {
    location.assign(link.href);
    return;
  }
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "dialog-title");
  dialog.innerHTML = await answer.text();
  dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
  document.body.append(dialog);
  dialog.showModal();
});
// Another owner or pattern: show what is set there.
document.addEventListener("change", async (event) => {
  const dialog = event.target.closest("dialog");
  if (!dialog || event.target.name !== "owner_id") return;
  const form = event.target.form;
  const query = new URLSearchParams({ owner: form.owner_id.value, pattern: form.pattern.value, back: form.back.value });
  const answer = await fetch(`${form.action}?${query}`, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (!answer?.ok) return;
  dialog.innerHTML = await answer.text();
  dialog.querySelector("[name=owner_id]").focus();
});
