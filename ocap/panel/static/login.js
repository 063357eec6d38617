"use strict";
// Exchanges the code in the link's fragment, which no server is sent, for a session.
const said = document.getElementById("said");
const code = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
if (code) {
  fetch("/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ code }),
  }).then(async (answer) => {
    const found = await answer.json();
    if (answer.ok) location.replace(location.pathname);
    else said.textContent = found.error;
  }, () => { said.textContent = "The panel does not answer."; });
}
