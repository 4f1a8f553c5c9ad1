// One's own password and API tokens.
import { ask, at, date, frame, h, say, sending, t, trying } from "./common.js";

at("password").addEventListener("submit", (event) => {
  event.preventDefault();
  sending(at("password"), async (body) => {
    const first = document.querySelector("main > .note") !== null;
    const answer = await ask("/password", { method: "POST", body });
    frame.csrf = answer.csrf;
    at("password").reset();
    if (first) location.assign("/");
    else say(t("account.changed"));
  });
});

const show = () => trying(async () => {
  const tokens = await ask("/tokens");
  at("none").hidden = tokens.length > 0;
  at("tokens").hidden = tokens.length === 0;
  at("tokens").tBodies[0].replaceChildren(...tokens.map((token) => h("tr", {}, h("td", {}, token.name), h("td", {}, t(`role.${token.role}`)), h("td", { class: "tight" }, date(token.ends)),
    h("td", {}, h("button", { type: "button", class: "quiet", onclick: () => trying(() => ask(`/tokens/${token.id}`, { method: "DELETE" })).finally(show) }, t("account.end"))))));
});

if (at("token")) {
  at("token").addEventListener("submit", (event) => {
    event.preventDefault();
    sending(at("token"), async (given) => {
      const { secret } = await ask("/tokens", { method: "POST", body: { ...given, days: Number(given.days) } });
      at("secret").replaceChildren(t("account.secret"), h("br"), h("code", { class: "secret" }, secret));
      at("secret").hidden = false;
      at("token").reset();
    }).finally(show);
  });
  show();
}
