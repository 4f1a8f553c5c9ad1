// Sign in, and go where one wanted to.
import { ask, at } from "./common.js";

const wanted = () => {
  const next = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.origin);
  return next.origin === location.origin && next.pathname !== "/sign-in" ? next.pathname + next.search : "/";
};

at("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = at("sign-in").querySelector("button");
  button.disabled = true;
  at("refused").hidden = true;
  try {
    const answer = await ask("/session", { method: "POST", body: Object.fromEntries(new FormData(at("sign-in"))) });
    location.assign(answer.user.one_time ? "/account" : wanted());
  } catch (error) {
    at("refused").textContent = error.message;
    at("refused").hidden = false;
    button.disabled = false;
    at("sign-in").elements.password.select();
  }
});
