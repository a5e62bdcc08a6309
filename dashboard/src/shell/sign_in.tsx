// Signing in: with an API token, or with the one-time link that a command prints.
import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { ApiError, CookiesRefused, sessionEnded, signIn } from "../data/api";
import { Heading } from "../components/heading";
import { Words } from "../components/words";
import { go, path } from "./router";
import { type Key, t } from "../text/text";

type Refusal = { key: Key } | { detail: string; nextStep: string };
const refusal = signal<Refusal | null>(null);

/** Sign in with the code of a link. The code leaves the address at once: it shall stand in no history. */
export async function signInByLink(code: string): Promise<void> {
  go("/", true);
  await attempt({ code });
}

async function attempt(credential: { token: string } | { code: string }): Promise<void> {
  refusal.value = null;
  try {
    await signIn(credential);
    if (path.peek() === "/sign-in") go("/", true);
  } catch (error) {
    refusal.value = reasonOf(error);
  }
}

function reasonOf(error: unknown): Refusal {
  if (error instanceof CookiesRefused) return { key: "sign_in_cookies" };
  if (!(error instanceof ApiError)) throw error;
  if (!error.problem) return { key: "sign_in_no_answer" };
  return { detail: error.problem.detail, nextStep: error.problem.nextStep ?? "" };
}

export function SignIn() {
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const token = new FormData(event.currentTarget as HTMLFormElement).get("token");
    setBusy(true);
    await attempt({ token: String(token).trim() });
    setBusy(false);
  };
  return (
    <form class="sign-in" onSubmit={submit as never}>
      <Heading text={t("sign_in_title")} />
      {sessionEnded.value && !refusal.value && <p role="alert">{t("session_ended")} <Words text={sessionEnded.value} /></p>}
      <label for="token">{t("sign_in_token")}</label>
      <input
        id="token"
        name="token"
        type="password"
        autocomplete="current-password"
        spellcheck={false}
        required
        aria-describedby="token-help"
        aria-invalid={refusal.value ? "true" : undefined}
      />
      <button type="submit" disabled={isBusy}>
        {t("sign_in_button")}
      </button>
      <div role="alert">{refusal.value && <Refused refusal={refusal.value} />}</div>
      <p id="token-help">
        <Words text={t("sign_in_help")} lang="" />
      </p>
    </form>
  );
}

function Refused({ refusal }: { refusal: Refusal }) {
  if ("key" in refusal) return <p class="bad">{t(refusal.key)}</p>;
  return (
    <p class="bad">
      {t("refused")} <Words text={refusal.detail} /> {refusal.nextStep && <Words text={refusal.nextStep} />}
    </p>
  );
}
