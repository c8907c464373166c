// Live regions, copy buttons, the browser's time zone. Every page works without this file.
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("js");

  // Copy buttons: the clipboard where the browser allows it, a selection where it does not.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.querySelector(button.dataset.copy);
    if (!source) return;
    const label = button.textContent;
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      getSelection().selectAllChildren(source);
      done = document.execCommand && document.execCommand("copy") ? "Copied" : "Selected";
    }
    button.textContent = done;
    setTimeout(() => { button.textContent = label; }, 1600);
  });

  // The menu closes when something else is touched.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // An empty time zone is filled in with the browser's own.
  for (const input of document.querySelectorAll("input[data-timezone]")) {
    if (!input.value) input.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  }

  // A region with data-every is fetched again and swapped, unless somebody works in it.
  const busy = (region) => {
    const active = document.activeElement;
    const selection = getSelection();
    return (region.contains(active) && active.matches("input,select,textarea,summary")) ||
      region.querySelector("details[open]:not(.keep)") ||
      (!selection.isCollapsed && region.contains(selection.anchorNode)) ||
      [...region.querySelectorAll("input,select,textarea")].some(
        (field) => field.type !== "hidden" && field.type !== "radio" &&
          field.defaultValue !== undefined && field.value !== field.defaultValue);
  };

  const live = (region) => {
    let failures = 0;
    let timer;
    const wait = () => Number(region.dataset.every) * 1000 * Math.min(2 ** failures, 8);
    const again = () => {
      clearTimeout(timer);
      if (region.dataset.every) timer = setTimeout(look, wait());
    };
    let seen = "";
    const look = async () => {
      if (document.hidden || busy(region)) return again();
      try {
        const headers = { "X-Live": "1" };
        if (seen) headers["X-Seen"] = seen;
        const answer = await fetch(region.dataset.live || location.href, { headers });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const next = page.getElementById(region.id);
        if (!answer.ok || answer.redirected || !next) throw new Error("no such region");
        if (!busy(region) && next.innerHTML !== region.innerHTML) {
          const focused = document.activeElement;
          const href = region.contains(focused) ? focused.getAttribute("href") : null;
          region.innerHTML = next.innerHTML;
          if (href) {
            const same = [...region.querySelectorAll("a[href]")].find((a) => a.getAttribute("href") === href);
            if (same) same.focus({ preventScroll: true });
          }
        }
        for (const name of ["data-live", "data-every"]) {
          if (next.hasAttribute(name)) region.setAttribute(name, next.getAttribute(name));
          else region.removeAttribute(name);
        }
        if (!region.dataset.live) document.title = page.title;
        for (const id of ["as-of", "nav-alarms"]) {
          const fresh = page.getElementById(id);
          const shown = document.getElementById(id);
          if (fresh && shown) shown.replaceWith(fresh);
        }
        failures = 0;
        root.classList.remove("stale");
      } catch {
        failures += 1;
        if (failures > 1) root.classList.add("stale");
      }
      again();
    };
    again();
    // What is told at once is looked at at once; without the stream the page still looks by itself.
    let stream = null;
    const listen = () => {
      if (!region.dataset.events || !window.EventSource || stream) return;
      stream = new EventSource(`/v1/stream?type=${region.dataset.events}`);
      for (const name of region.dataset.events.split(",")) {
        stream.addEventListener(name, (event) => {
          seen = event.lastEventId;
          clearTimeout(timer);
          timer = setTimeout(look, 150);
        });
      }
    };
    const mute = () => { if (stream) stream.close(); stream = null; };
    if (!document.hidden) listen();
    addEventListener("pagehide", mute);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return mute();
      listen();
      if (region.dataset.every) look();
    });
  };
  for (const region of document.querySelectorAll("[data-live]")) live(region);

  // A draft is tried while it is typed: the same request as the button's, its outcome put in place.
  for (const form of document.querySelectorAll("form[data-try]")) {
    let timer, turn = 0;
    const attempt = async () => {
      const mine = ++turn;
      const fields = new URLSearchParams(new FormData(form));
      fields.delete("idempotency_key");
      fields.set("do", "try");
      try {
        const answer = await fetch(form.action, { method: "POST", body: fields });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const next = page.querySelector(form.dataset.try);
        const shown = document.querySelector(form.dataset.try);
        if (mine === turn && next && shown) shown.innerHTML = next.innerHTML;
      } catch {
        // The button still tries it.
      }
    };
    form.addEventListener("input", (event) => {
      if (event.target.name === "reason" || event.target.name === "name") return;
      clearTimeout(timer);
      timer = setTimeout(attempt, 700);
    });
  }
})();
