// How an execution is written: as its rule would write it, in the words of the page where there are any.
import type { Action, Execution } from "../data/api_types";
import { t } from "../text/text";
import { Badge } from "./badge";

export const executionPath = (id: string) => `/executions/${encodeURIComponent(id)}`;

/** Return a value: a name (of a pin, of a member of an enum) stands as it is, a text that is more stands in quotes. */
export const valueText = (value: unknown): string =>
  typeof value === "string" && /^[\w.+-]+$/.test(value) ? value : JSON.stringify(value);

export const callText = (one: { capability: string; arguments: Record<string, unknown> }): string =>
  `${one.capability}(${Object.values(one.arguments).map(valueText).join(", ")})`;

export const assigned = (values: Record<string, unknown>): string[] =>
  Object.entries(values).map(([name, value]) => `${name} = ${valueText(value)}`);

const TONES = { ok: "good", skipped: "quiet", trapped: "bad", unknown: "quiet" } as const;

export function Outcome({ of }: { of: Execution["outcome"] }) {
  return <Badge tone={TONES[of]} text={t(`outcome_${of}`)} />;
}

/** A short link; a screen reader hears which execution it leads to. */
export function WhyLink({ id }: { id: string }) {
  return (
    <a href={executionPath(id)} title={id}>
      {t("why_link")}
      <span class="unseen"> {id}</span>
    </a>
  );
}

/** What went into an execution: the fields of its event, and what it read. */
export const given = (one: Execution): string =>
  [...assigned(one.inputs), ...one.reads.map((read) => `${callText(read)} = ${read.value === null ? t("read_failed") : valueText(read.value)}`)].join(", ");

export function Decided({ one }: { one: Execution }) {
  if (one.trap) return <>{t("trapped_at", { name: one.trap.name, line: one.trap.line || "–" })}</>;
  if (!one.actions.length) return <>{t("decided_nothing")}</>;
  return (
    <ul class="plain">
      {one.actions.map((action, at) => (
        <li key={at}>
          <code>{callText(action)}</code> {unsent(action)}
        </li>
      ))}
    </ul>
  );
}

/** Return why an action was not sent, empty when it was. */
export const unsent = (action: Pick<Action, "disposition">): string => (action.disposition === "sent" ? "" : t(`disposition_${action.disposition}`));
