import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, may } from "../data/api";
import { t } from "../text/text";
import { Words } from "./words";

type Props = {
  text: string;
  /** The role that it needs: who has a lower one does not see it. */
  role: "deploy" | "admin";
  /** What it does; what it raises as ApiError stands beside the button. */
  act: () => Promise<unknown>;
  /** A question before it is done; none without it. */
  question?: string;
};

/** A button that changes something. While it works it cannot be pressed again. */
export function ActionButton({ text, role, act, question }: Props) {
  const [isBusy, setBusy] = useState(false);
  const [isAsking, setAsking] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const first = useRef<HTMLButtonElement>(null);
  const wasAsking = useRef(false);
  useEffect(() => {
    // The button that had the focus is gone: it goes to the one in its place.
    if (isAsking !== wasAsking.current) first.current?.focus();
    wasAsking.current = isAsking;
  }, [isAsking]);
  if (!may(role)) return null;
  const run = async () => {
    setAsking(false);
    setBusy(true);
    setError(null);
    try {
      await act();
    } catch (raised) {
      if (!(raised instanceof ApiError)) throw raised;
      setError(raised);
    } finally {
      setBusy(false);
    }
  };
  return (
    <span class="action">
      {isAsking ? (
        <span role="group" aria-label={question}>
          {question}{" "}
          <button ref={first} type="button" onClick={() => void run()}>
            {text}
          </button>{" "}
          <button type="button" onClick={() => setAsking(false)}>
            {t("cancel")}
          </button>
        </span>
      ) : (
        <button ref={first} type="button" aria-disabled={isBusy} onClick={() => !isBusy && (question ? setAsking(true) : void run())}>
          {isBusy ? t("working") : text}
        </button>
      )}
      <span role="alert">{error && <ErrorText error={error} />}</span>
    </span>
  );
}

/** A refusal in words: what, where in the request, why, and what to do. */
export function ErrorText({ error }: { error: ApiError }) {
  if (!error.problem) return <span class="bad">{t("no_answer")}</span>;
  const { detail, nextStep, errors = [] } = error.problem;
  return (
    <span class="bad">
      {t("refused")} <Words text={detail} />
      {errors.map((one) => (
        <span key={one.pointer + one.message}>
          {" "}
          <code>{one.pointer}</code> <Words text={one.message} />;
        </span>
      ))}
      {nextStep && (
        <>
          {" "}
          {t("next_step")} <Words text={nextStep} />
        </>
      )}
    </span>
  );
}
