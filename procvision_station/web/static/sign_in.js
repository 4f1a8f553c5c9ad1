// Sign in, and go where one wanted to.
import { ask, at, sending } from "./common.js";

const wanted = () => {
  const next = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.origin);
  return next.origin === location.origin && next.pathname !== "/sign-in" ? next.pathname + next.search : "/";
};

at("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sending(at("sign-in"), async (body) => {
    const answer = await ask("/session", { method: "POST", body });
    location.assign(answer.user.one_time ? "/account" : wanted());
  });
});
