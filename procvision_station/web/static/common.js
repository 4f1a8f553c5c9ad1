// What every page's script uses: texts, requests, elements, times.
export const frame = JSON.parse(document.getElementById("frame").textContent);

/** A text of the catalogue, with {facts} filled in, in one pass: what a fact says is never a pattern. */
export const t = (name, facts = {}) => (frame.texts[name] ?? name).replace(/\{(\w+)\}/g, (whole, fact) => (fact in facts ? String(facts[fact]) : whole));

const ROLES = ["viewer", "operator", "engineer", "administrator"];
/** Whether the user has a role, or one above it. */
export const may = (role) => ROLES.indexOf(frame.role) >= ROLES.indexOf(role);

const make = (element, facts, children) => {
  for (const [name, value] of Object.entries(facts)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
};
/** An element of HTML; `onclick` and the like are listeners. Texts are texts, never markup. */
export const h = (name, facts = {}, ...children) => make(document.createElement(name), facts, children);
/** An element of SVG. */
export const s = (name, facts = {}, ...children) => make(document.createElementNS("http://www.w3.org/2000/svg", name), facts, children);

export const at = (id) => document.getElementById(id);

/** Tell something in the corner of the page. */
export const say = (text, bad = false) => {
  const note = h("p", { class: bad ? "note bad" : "note" }, text);
  at("messages").append(note);
  setTimeout(() => note.remove(), bad ? 12000 : 5000);
};

export class Refused extends Error {
  constructor(body, status) {
    super(body.hint ? `${body.what}: ${body.hint}` : body.what);
    this.body = body;
    this.status = status;
  }
}

/** Ask the interface. Throws Refused. */
export const ask = async (path, { method = "GET", body, facts } = {}) => {
  const given = Object.entries(facts ?? {}).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = given.length ? `?${new URLSearchParams(given)}` : "";
  const headers = { accept: "application/json" };
  if (frame.csrf && method !== "GET") headers["x-csrf-token"] = frame.csrf;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`/api${path}${query}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Refused({ what: t("common.away"), hint: "" }, 0);
  }
  return taken(answer.status, answer.headers.get("content-type"), await answer.text());
};

/** What an answer says. Throws Refused. */
const taken = (status, kind, text) => {
  const read = text && (kind ?? "").includes("json") ? JSON.parse(text) : text;
  if (status >= 200 && status < 300) return read;
  if (status === 401 && frame.page !== "sign_in") {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  throw new Refused(typeof read === "object" ? read : { what: t("common.away"), hint: "" }, status);
};

/** Send a file, and say how much of it has gone, from 0 to 1: fetch doesn't tell. Throws Refused. */
export const send = (path, facts, file, told) =>
  new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const away = () => reject(new Refused({ what: t("common.away"), hint: "" }, 0));
    request.open("POST", `/api${path}?${new URLSearchParams(facts)}`);
    request.setRequestHeader("accept", "application/json");
    request.setRequestHeader("content-type", "application/octet-stream");
    if (frame.csrf) request.setRequestHeader("x-csrf-token", frame.csrf);
    request.upload.addEventListener("progress", ({ loaded, total }) => told(total ? loaded / total : 0));
    request.addEventListener("error", away);
    request.addEventListener("abort", away);
    request.addEventListener("load", () => {
      try {
        resolve(taken(request.status, request.getResponseHeader("content-type"), request.responseText));
      } catch (error) {
        reject(error);
      }
    });
    request.send(file);
  });

/** Run something that asks, and tell what is refused. */
export const trying = async (work) => {
  try {
    return await work();
  } catch (error) {
    say(error.message, true);
    return undefined;
  }
};

/** Tell a refusal at the field that it is about: read out with it, and gone when something else is typed there. */
const complain = (field, text) => {
  const id = `${field.form.id}-${field.name}-wrong`;
  const told = at(id) ?? h("p", { class: "wrong", id, role: "alert" });
  (field.closest("label") ?? field).after(told);
  told.textContent = text;
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", [...new Set([...(field.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean), id])].join(" "));
  field.addEventListener("input", () => {
    field.removeAttribute("aria-invalid");
    told.remove();
  }, { once: true });
  field.focus();
  field.select?.();
};

/** Send a form: one time at a time, and what is refused is told at its field, or else in the corner. */
export const sending = async (form, work) => {
  const buttons = form.querySelectorAll("button[type=submit]");
  for (const button of buttons) button.disabled = true;
  try {
    await work(Object.fromEntries(new FormData(form)));
  } catch (error) {
    const field = error.body?.where && form.elements.namedItem(error.body.where);
    if (field) complain(field, error.message);
    else say(error.message, true);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
};

/** Fill a form's filters in as the address has them. A value that there is no more is asked for all the same. */
export const obey = (form) => {
  for (const [name, value] of new URLSearchParams(location.search)) {
    const field = form.elements.namedItem(name);
    if (!field) continue;
    if (field.type === "checkbox") field.checked = value === field.value;
    else {
      if (value && field.options && ![...field.options].some((option) => option.value === value)) field.append(h("option", { value }, value));
      field.value = value;
    }
  }
};
/** Let the address say what a form's filters are: it is loaded anew, kept and sent. */
export const remember = (form, more = {}) => {
  const given = [...new FormData(form), ...Object.entries(more)].filter(([, value]) => value);
  history.replaceState(null, "", given.length ? `?${new URLSearchParams(given)}` : location.pathname);
};

/** What state an algorithm's host is in. */
export const hostState = (state) => frame.texts[`host_state.${state}`] ?? state;

const locale = frame.language;
// Numbers of a date in ISO's order are read alike everywhere; English alone has two orders.
const times = locale === "en" ? "sv-SE" : locale;
const clock = new Intl.DateTimeFormat(times, { timeZone: frame.zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(times, { timeZone: frame.zone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
/** Times in the plant's zone. */
export const hour = (text) => clock.format(new Date(text));
export const date = (text) => (text ? day.format(new Date(text)) : "");
export const number = (value, digits = 0) => new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value);
export const percent = (value) => (value === null ? "–" : `${number(value * 100, 1)} %`);

const SIGNS = { OK: "✓", NG: "✕", ERROR: "!" };
export const sign = (verdict) => SIGNS[verdict] ?? "–";
export const pill = (verdict) => h("span", { class: `pill is-${verdict}`, "data-sign": sign(verdict) }, verdict);

/** The moment that a `datetime-local` names in the plant's zone, as ISO; empty for none. */
export const moment = (local) => {
  if (!local) return "";
  const wanted = Date.parse(`${local}Z`);
  const parts = new Intl.DateTimeFormat("en-US", { timeZone: frame.zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" });
  const shown = (time) => {
    const found = Object.fromEntries(parts.formatToParts(new Date(time)).map(({ type, value }) => [type, Number(value)]));
    return Date.UTC(found.year, found.month - 1, found.day, found.hour, found.minute, found.second);
  };
  let time = wanted;
  for (let round = 0; round < 2; round += 1) time += wanted - shown(time);
  return new Date(time).toISOString();
};

/** A dialog: resolves to its form's fields, or null where it was cancelled. */
export const dialog = (element) =>
  new Promise((resolve) => {
    const form = element.querySelector("form");
    form.reset();
    element.returnValue = "";
    element.showModal();
    element.addEventListener(
      "close",
      () => resolve(element.returnValue === "send" ? Object.fromEntries(new FormData(form)) : null),
      { once: true },
    );
  });

/** Ask in a dialog for a reason, or, without `question`, for a yes: resolves to the text or "yes"; null where it was cancelled. */
export const asked = async (title, question, yes, { danger = false } = {}) => {
  const element = h("dialog", { "aria-label": title }, h("form", { method: "dialog" }, h("h2", {}, title),
    question ? h("label", {}, question, h("input", { name: "answer", required: true, maxlength: "4000", autocomplete: "off" })) : null,
    h("div", { class: "actions" }, h("button", { type: "submit", value: "send", class: danger ? "danger" : null }, yes), h("button", { type: "submit", value: "cancel", class: "quiet", formnovalidate: true }, t("common.cancel")))));
  document.body.append(element);
  const given = await dialog(element);
  element.remove();
  return given && (question ? given.answer : "yes");
};

/** What an event of the ledger is called. */
export const eventName = (event) => frame.texts[`event.${event}`] ?? event.replaceAll("_", " ");

/** The path of a product's page. */
export const productPath = (line, key) => `/lines/${encodeURIComponent(line)}/products/${encodeURIComponent(key)}`;
/** A kept picture's path in the interface. */
export const picturePath = (file, small = false) => `/api/pictures/${file.replace("/", "")}${small ? "/thumbnail" : ""}`;

at("sign-out")?.addEventListener("click", () =>
  trying(async () => {
    await ask("/session", { method: "DELETE" });
    location.assign("/sign-in");
  }),
);

// Until the page's script listens, a button would send its form to nowhere, and what was typed with it.
document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("button[data-waits]")) button.disabled = false;
});
