// Users: who there is, which role, one-time passwords.
import { ask, asked, at, date, frame, h, sending, t, trying } from "./common.js";

const ROLES = ["viewer", "operator", "engineer", "administrator"];
const body = at("users").tBodies[0];

const tell = ({ user, one_time_password: secret }) => {
  at("secret").replaceChildren(t("users.secret", { name: user.name }), h("br"), h("code", { class: "secret" }, secret));
  at("secret").hidden = false;
};

const row = (user) => {
  const path = `/users/${user.id}`;
  const role = h("select", { "aria-label": t("users.role_of", { name: user.name }), onchange: () => trying(async () => {
    await ask(path, { method: "PATCH", body: { role: role.value } });
  }).finally(show) }, ROLES.map((each) => h("option", { value: each, selected: each === user.role }, t(`role.${each}`))));
  return h("tr", {}, h("td", {}, user.name, user.one_time ? h("span", { class: "soft" }, ` · ${t("users.one_time")}`) : null), h("td", {}, role), h("td", { class: "tight" }, date(user.last_seen)), h("td", { class: "mono" }, user.id),
    h("td", { class: "tight" }, h("div", { class: "actions" },
      h("button", { type: "button", class: "quiet", onclick: () => trying(async () => tell(await ask(`${path}/password`, { method: "POST" }))).finally(show) }, t("users.reset")),
      user.name === frame.user ? null : h("button", { type: "button", class: "quiet", onclick: async () => {
        if (await asked(t("users.sure", { name: user.name }), null, t("users.remove"), { danger: true })) trying(() => ask(path, { method: "DELETE" })).finally(show);
      } }, t("users.remove")))));
};

const show = () => trying(async () => body.replaceChildren(...(await ask("/users")).map(row)));
at("add").addEventListener("submit", (event) => {
  event.preventDefault();
  sending(at("add"), async (body) => {
    tell(await ask("/users", { method: "POST", body }));
    at("add").reset();
  }).finally(show);
});
show();
