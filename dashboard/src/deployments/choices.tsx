// Where a new deployment goes, and how.
import { useState } from "preact/hooks";
import { type Draft, type Where, heeds } from "../data/drafts";
import { STRATEGIES, strategyText } from "../data/deployments";
import { type Key, t } from "../text/text";

type Props = { draft: Draft; onChange: (next: Partial<Draft>) => void };
const WHERE: readonly Where[] = ["labels", "names", "all"];

export function NodesChoice({ draft, onChange }: Props) {
  return (
    <fieldset>
      <legend>{t("where_title")}</legend>
      <div class="filters" role="radiogroup" aria-label={t("where_title")}>
        {WHERE.map((one) => (
          <label key={one}>
            <input type="radio" name="where" checked={draft.where === one} onChange={() => onChange({ where: one })} /> {t(`where_${one}` as Key)}
          </label>
        ))}
      </div>
      {draft.where === "labels" && <WordList title={t("label")} hint="site=lyon" pattern="[^=]+=.+" values={draft.labels} onChange={(labels) => onChange({ labels })} />}
      {draft.where === "names" && <WordList title={t("node")} hint="node-prod-01" values={draft.names} onChange={(nodes) => onChange({ names: nodes })} />}
      {draft.where !== "names" && <WordList title={t("exclude")} hint="node-prod-02" values={draft.exclude} onChange={(exclude) => onChange({ exclude })} />}
    </fieldset>
  );
}

type WordListProps = { title: string; hint: string; pattern?: string; values: string[]; onChange: (values: string[]) => void };

/** Words that are added one by one; Enter adds, too. */
function WordList({ title, hint, pattern, values, onChange }: WordListProps) {
  const [word, setWord] = useState("");
  const fits = !!word.trim() && (!pattern || new RegExp(`^${pattern}$`).test(word.trim()));
  const add = () => {
    if (!fits) return;
    onChange([...new Set([...values, word.trim()])]);
    setWord("");
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    add();
  };
  return (
    <div class="filters">
      <label>
        {title} <input value={word} placeholder={hint} onInput={(event) => setWord(event.currentTarget.value)} onKeyDown={onKeyDown} onBlur={add} />
      </label>
      <button type="button" onClick={add} aria-label={`${t("filter_add")}: ${title}`}>
        {t("filter_add")}
      </button>
      {values.map((one) => (
        <button key={one} type="button" onClick={() => onChange(values.filter((other) => other !== one))}>
          {one} <span aria-hidden="true">✕</span>
          <span class="unseen">{t("leave_out", { name: one })}</span>
        </button>
      ))}
    </div>
  );
}

export function StrategyChoice({ draft, onChange }: Props) {
  const field = (name: keyof Draft & Key, more: Record<string, unknown>) => (
    <label>
      {t(name)} <input type="number" value={String(draft[name])} onInput={(event) => onChange({ [name]: event.currentTarget.value })} {...more} />
    </label>
  );
  return (
    <fieldset>
      <legend>{t("how_title")}</legend>
      <div class="filters">
        <label>
          {t("strategy")}{" "}
          <select value={draft.strategy} onChange={(event) => onChange({ strategy: event.currentTarget.value })}>
            {STRATEGIES.map((one) => (
              <option key={one} value={one}>
                {strategyText(one)}
              </option>
            ))}
          </select>
        </label>
        {heeds(draft.strategy, "batch") && (
          <>
            {field("batch", { min: draft.batchIsPercent ? 0.01 : 1, max: draft.batchIsPercent ? 100 : 10_000, step: draft.batchIsPercent ? "any" : 1, placeholder: "1" })}
            <label>
              <input type="checkbox" checked={draft.batchIsPercent} onChange={(event) => onChange({ batchIsPercent: event.currentTarget.checked })} /> {t("batch_percent")}
            </label>
          </>
        )}
        {heeds(draft.strategy, "steps") && (
          <label>
            {t("steps")}{" "}
            <input value={draft.steps} placeholder="10" pattern="\s*[0-9.]+\s*(,\s*[0-9.]+\s*)*" title={t("steps_help")} onInput={(event) => onChange({ steps: event.currentTarget.value })} />
          </label>
        )}
        {field("observeS", { min: 0, max: 604_800, step: 1, placeholder: { immediate: "0", shadow: "3600" }[draft.strategy] ?? "60" })}
      </div>
      <p>{t(`about_${draft.strategy}` as Key)}</p>
      <details>
        <summary>{t("more_options")}</summary>
        <div class="filters">
          {field("samplesMin", { min: 1, max: 1_000_000, step: 1, placeholder: "20" })}
          {field("failuresMaxPercent", { min: 0, max: 100, step: "any", placeholder: "5" })}
          {field("startsMax", { min: 0, max: 1_000, step: 1, placeholder: "3" })}
          {field("deadlineH", { min: 0.01, max: 720, step: "any", placeholder: "72" })}
          <label>
            <input type="checkbox" checked={draft.rollbackOnError} onChange={(event) => onChange({ rollbackOnError: event.currentTarget.checked })} /> {t("rollbackOnError")}
          </label>
        </div>
      </details>
    </fieldset>
  );
}
