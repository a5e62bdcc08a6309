import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { ApiError, may } from "../data/api";
import { t } from "../text/text";
import { ErrorText } from "./button";

type FormProps = {
  /** What the button says. */
  text: string;
  /** The role that it needs: who has a lower one does not see the form. */
  role: "read" | "deploy" | "admin";
  /** Does it with the values of the fields by their names; what it raises as ApiError stands below the fields. */
  act: (values: Record<string, string>) => Promise<unknown>;
  children: ComponentChildren;
};

/** Fields with a button. While it works it cannot be sent again; a refusal leaves what was typed. */
export function Form({ text, role, act, children }: FormProps) {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  if (!may(role)) return null;
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    setBusy(true);
    setError(null);
    try {
      await act(Object.fromEntries([...data].map(([name, value]) => [name, String(value)])));
    } catch (raised) {
      if (!(raised instanceof ApiError)) throw raised;
      setError(raised);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form class="form" onSubmit={submit as never}>
      {children}
      <button type="submit" disabled={isBusy}>
        {isBusy ? t("working") : text}
      </button>
      <div role="alert">{error && <ErrorText error={error} />}</div>
    </form>
  );
}

type FieldProps = { name: string; title: string; value?: string; help?: string; isRequired?: boolean; charsMax?: number };

/** One line of text, with its name and what to write there. */
export function Field({ name, title, value = "", help, isRequired = false, charsMax }: FieldProps) {
  const id = useId();
  return (
    <p>
      <label for={id}>{title}</label>
      <input
        id={id}
        name={name}
        defaultValue={value}
        required={isRequired}
        maxLength={charsMax}
        aria-describedby={help ? `${id}-help` : undefined}
      />
      {help && <small id={`${id}-help`}>{help}</small>}
    </p>
  );
}
