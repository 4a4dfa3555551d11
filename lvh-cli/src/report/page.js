(() => {
  const form = document.getElementById("filter"), told = document.getElementById("told");
  const words = form.elements.q, ending = form.elements.show;
  const rows = [...document.querySelectorAll("tr[data-is], article[data-is], li[data-is]")];
  for (const row of rows) row.words = row.dataset.name.toLowerCase();
  const apply = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let tests = 0;
    for (const row of rows) {
      const shown = wanted.every((word) => row.words.includes(word)) && (!ending.value || row.dataset.is.split(" ").includes(ending.value));
      row.hidden = !shown;
      if (shown && row.tagName === "TR") tests++;
    }
    for (const group of document.querySelectorAll("tbody")) group.hidden = !group.querySelector("tr[data-is]:not([hidden])");
    told.textContent = tests + (tests === 1 ? " test is shown" : " tests are shown");
  };
  const given = new URLSearchParams(location.search);
  words.value = given.get("q") || "";
  ending.value = given.get("show") || "";
  form.hidden = false;
  form.addEventListener("input", apply);
  apply();
  const open = () => {
    const block = document.getElementById(location.hash.slice(1))?.closest("details");
    if (block) block.open = true;
  };
  addEventListener("hashchange", open);
  open();
})();
