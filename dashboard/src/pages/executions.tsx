// Executions of all nodes: filtered, a page at a time, the newest first. What the reader chose stands in the address.
import { useEffect, useState } from "preact/hooks";
import { Decided, Outcome, WhyLink, given } from "../components/execution_words";
import { Heading } from "../components/heading";
import { PageLink, nodePath } from "../components/page_link";
import { Reading } from "../components/reading";
import { type Column, Pager, Table } from "../components/table";
import { Time } from "../components/time";
import type { Execution } from "../data/api_types";
import { watch } from "../data/feed";
import { changed, useExecutions } from "../data/executions";
import { choose, query } from "../shell/router";
import { count, number, t } from "../text/text";
import { fieldOfTime, pointUs, timeOfField } from "../text/times";

const OUTCOMES = ["ok", "skipped", "trapped"] as const;
const ROWS = 50;
const LOOKED = 500; // how many are looked at for a page of those that changed something

export default function ExecutionsPage() {
  const [cursor, setCursor] = useState("");
  const chosen = query.value;
  const word = (name: string) => chosen.get(name) ?? "";
  const isChanged = word("changed") === "yes";
  const isAtOnce = word("live") === "yes";
  const list = useExecutions(
    {
      node: chosen.getAll("node"),
      rule: word("rule"),
      key: word("key"),
      outcome: word("outcome"),
      action: word("action"),
      sinceUs: pointUs(word("since")),
      untilUs: pointUs(word("until")),
      limit: isChanged ? LOOKED : ROWS,
      cursor,
    },
    (one) => !isChanged || changed(one),
    () => isAtOnce && scrollY === 0,
  );
  useEffect(() => watch({ records: true }), []);
  const change = (changes: Record<string, string>) => {
    setCursor("");
    choose(changes);
  };
  return (
    <>
      <Heading text={t("executions_title")} />
      <p>{t("executions_help")}</p>
      <Filters word={word} change={change} shown={list.page?.executions ?? []} />
      <p role="status" class="news">
        {list.came > 0 && (
          <button type="button" onClick={list.read}>
            {list.isMany ? t("executions_many", { n: number(list.came) }) : count("executions_new", list.came)}
          </button>
        )}
      </p>
      <Reading read={{ value: list.page, error: list.error, read: list.read }}>
        {(page) => (
          <>
            <Rows rows={isChanged ? page.executions.filter(changed) : page.executions} looked={page.executions.length} isMore={page.more} />
            <Pager next={page.more ? page.nextCursor : ""} isFirst={!cursor} onPage={setCursor} />
          </>
        )}
      </Reading>
    </>
  );
}

/** The rows. A look has a bound: a page may be short, or empty, although there are more. */
function Rows({ rows, looked, isMore }: { rows: readonly Execution[]; looked: number; isMore: boolean }) {
  const empty = isMore ? t("executions_none_here") : t("executions_none_fit");
  return (
    <>
      {rows.length < looked && <p>{count("executions_looked", looked)}</p>}
      <Table caption={t("executions")} columns={columns()} rows={rows} keyOf={(one) => one.id} empty={empty} />
    </>
  );
}

type FiltersProps = { word: (name: string) => string; change: (changes: Record<string, string>) => void; shown: readonly Execution[] };

function Filters({ word, change, shown }: FiltersProps) {
  const text = (name: string, title: string, example = "") => (
    <label>
      {title} <input type="search" value={word(name)} placeholder={example} spellcheck={false} list={`${name}-shown`} onChange={(event) => change({ [name]: event.currentTarget.value.trim() })} />
    </label>
  );
  const moment = (name: string, title: string) => (
    <label>
      {title}{" "}
      <input type="datetime-local" step={1} value={fieldOfTime(word(name))} onChange={(event) => change({ [name]: timeOfField(event.currentTarget.value) })} />
    </label>
  );
  const tick = (name: string, title: string) => (
    <label>
      <input type="checkbox" checked={word(name) === "yes"} onChange={(event) => change({ [name]: event.currentTarget.checked ? "yes" : "" })} /> {title}
    </label>
  );
  return (
    <search class="filters">
      {tick("changed", t("executions_changed"))}
      {text("node", t("node"), "node-prod-01")}
      {text("rule", t("rule"))}
      {text("action", t("action"), "gpio.set_pin")}
      {text("key", t("event_key"))}
      <label>
        {t("outcome")}{" "}
        <select value={word("outcome")} onChange={(event) => change({ outcome: event.currentTarget.value })}>
          <option value="">{t("filter_any")}</option>
          {OUTCOMES.map((one) => (
            <option key={one} value={one}>
              {t(`outcome_${one}`)}
            </option>
          ))}
        </select>
      </label>
      {moment("since", t("time_from"))}
      {moment("until", t("time_until"))}
      {tick("live", t("executions_live"))}
      <Shown name="node" values={shown.map((one) => one.node)} />
      <Shown name="rule" values={shown.map((one) => one.rule)} />
      <Shown name="key" values={shown.map((one) => one.key)} />
      <Shown name="action" values={shown.flatMap((one) => one.actions.map((action) => action.capability))} />
    </search>
  );
}

/** What a field may be given of what the page shows. */
function Shown({ name, values }: { name: string; values: readonly string[] }) {
  return (
    <datalist id={`${name}-shown`}>
      {[...new Set(values)].filter(Boolean).sort().map((one) => (
        <option key={one} value={one} />
      ))}
    </datalist>
  );
}

const columns = (): Column<Execution>[] => [
  { title: t("time"), cell: (one) => <Time us={one.timeUs} /> },
  { title: t("execution"), cell: (one) => <WhyLink id={one.id} /> },
  { title: t("node"), cell: (one) => <PageLink to={nodePath(one.node)}>{one.node}</PageLink> },
  { title: t("rule"), cell: (one) => <RuleName one={one} /> },
  { title: t("outcome"), cell: (one) => <Outcome of={one.outcome} /> },
  { title: t("went_in"), cell: (one) => given(one) || "–" },
  { title: t("decided"), cell: (one) => <Decided one={one} /> },
];

function RuleName({ one }: { one: Execution }) {
  return (
    <>
      <PageLink to={`/rules/${one.rule}`}>{one.rule}</PageLink>
      {one.key && ` (${t("event_key")} ${one.key})`}
      {one.slot !== "active" && ` ${t("slot_candidate")}`}
    </>
  );
}
