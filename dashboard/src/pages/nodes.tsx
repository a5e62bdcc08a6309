// All nodes: filtered, sorted, a page at a time. What the reader chose stands in the address.
import { useEffect, useState } from "preact/hooks";
import { Heading } from "../components/heading";
import { NodeState, buffer, labelsText } from "../components/node_state";
import { PageLink, nodePath } from "../components/page_link";
import { Reading } from "../components/reading";
import { type Column, Pager, Table } from "../components/table";
import { Time } from "../components/time";
import type { NodeRow } from "../data/api_types";
import { watch } from "../data/feed";
import { useRows } from "../data/lists";
import { choose, query } from "../shell/router";
import { type Key, count, number, percent, t } from "../text/text";

const STATES = ["failing", "offline", "pending", "drained", "fine"] as const;
const ROWS = 50;

export default function Nodes() {
  const [cursor, setCursor] = useState("");
  const chosen = query.value;
  const asked = {
    name: chosen.get("name") ?? "",
    state: chosen.getAll("state"),
    label: chosen.getAll("label"),
    sort: chosen.get("sort") ?? "name",
  };
  const nodes = useRows("nodes", { ...asked, limit: ROWS, cursor });
  const shown = nodes.value?.rows.map((row) => row.name) ?? [];
  useEffect(() => watch({ nodes: shown }), [shown.join()]);
  const change = (changes: Record<string, string | string[]>) => {
    setCursor("");
    choose(changes);
  };
  return (
    <>
      <Heading text={t("nodes_title")} />
      <Filters asked={asked} change={change} />
      <Reading read={nodes}>
        {(page) => (
          <>
            <p role="status">{count("nodes_found", page.total ?? page.rows.length)}</p>
            <Table
              caption={t("nodes_title")}
              columns={columns()}
              rows={page.rows}
              keyOf={(row) => row.name}
              empty={t("nodes_none_fit")}
              sorted={asked.sort}
              onSort={(sort) => change({ sort })}
            />
            <Pager next={page.nextCursor} isFirst={!cursor} onPage={setCursor} />
          </>
        )}
      </Reading>
    </>
  );
}

type FiltersProps = {
  asked: { name: string; state: string[]; label: string[] };
  change: (changes: Record<string, string | string[]>) => void;
};

function Filters({ asked, change }: FiltersProps) {
  const [label, setLabel] = useState("");
  const addLabel = (event: SubmitEvent) => {
    event.preventDefault();
    if (label.includes("=")) change({ label: [...new Set([...asked.label, label.trim()])] });
    setLabel("");
  };
  return (
    <search class="filters">
      <label>
        {t("filter_name")} <input type="search" value={asked.name} onInput={(event) => change({ name: event.currentTarget.value })} />
      </label>
      <label>
        {t("state")}{" "}
        <select value={asked.state[0] ?? ""} onChange={(event) => change({ state: event.currentTarget.value })}>
          <option value="">{t("filter_any")}</option>
          {STATES.map((one) => (
            <option key={one} value={one}>
              {t(`standing_${one}` as Key)}
            </option>
          ))}
        </select>
      </label>
      <form onSubmit={addLabel as never}>
        <label>
          {t("label")}{" "}
          <input value={label} placeholder="site=lyon" pattern="[^=]+=.+" onInput={(event) => setLabel(event.currentTarget.value)} />
        </label>{" "}
        <button type="submit">{t("filter_add")}</button>
      </form>
      {asked.label.map((one) => (
        <button key={one} type="button" onClick={() => change({ label: asked.label.filter((other) => other !== one) })}>
          {one} <span aria-hidden="true">✕</span>
          <span class="unseen">{t("filter_remove")}</span>
        </button>
      ))}
    </search>
  );
}

const columns = (): Column<NodeRow>[] => [
  { title: t("node"), cell: (row) => <PageLink to={nodePath(row.name)}>{row.name}</PageLink>, sort: "name" },
  { title: t("state"), cell: (row) => <NodeState row={row} />, sort: "worst", isFalling: true },
  { title: t("heard"), cell: (row) => <Time us={row.lastSeenUs} asAgo />, sort: "heard" },
  { title: t("labels"), cell: (row) => labelsText(row.labels) || "–" },
  { title: t("rules"), cell: (row) => number(row.rules), isNumber: true },
  { title: t("executions_per_minute"), cell: (row) => number(row.executionsPerMinute), sort: "executions", isFalling: true, isNumber: true },
  { title: t("errors_per_minute"), cell: (row) => number(row.errorsPerMinute, 1), sort: "errors", isFalling: true, isNumber: true },
  { title: t("processor"), cell: (row) => percent(row.processorPercent), isNumber: true },
  { title: t("memory"), cell: (row) => percent(row.memoryPercent), isNumber: true },
  { title: t("buffer"), cell: (row) => buffer(row), isNumber: true },
];
