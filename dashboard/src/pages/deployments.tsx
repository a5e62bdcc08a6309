// All deployments, the newest first: filtered, a page at a time. What the reader chose stands in the address.
import { useEffect, useState } from "preact/hooks";
import { DeploymentState } from "../deployments/state";
import { Heading } from "../components/heading";
import { PageLink } from "../components/page_link";
import { Reading } from "../components/reading";
import { type Column, Pager, Table } from "../components/table";
import { Time } from "../components/time";
import { Words } from "../components/words";
import { may } from "../data/api";
import type { DeploymentSummary } from "../data/api_types";
import { STATES, STRATEGIES, countsText, deploymentPath, pauseText, strategyText } from "../data/deployments";
import { watch } from "../data/feed";
import { useRows } from "../data/lists";
import { choose, query } from "../shell/router";
import { t } from "../text/text";

const ROWS = 50;

export default function Deployments() {
  const [cursor, setCursor] = useState("");
  const chosen = query.value;
  const asked = Object.fromEntries(["open", "state", "strategy", "rule", "node"].map((one) => [one, chosen.get(one) ?? ""]));
  const found = useRows("deployments", { ...asked, limit: ROWS, cursor });
  useEffect(() => watch({}), []);
  const change = (changes: Record<string, string>) => {
    setCursor("");
    choose(changes);
  };
  return (
    <>
      <Heading text={t("deployments_title")} />
      {may("deploy") && (
        <p>
          <PageLink to="/deployments/new">{t("new_title")}</PageLink>
        </p>
      )}
      <Filters asked={asked} change={change} />
      <Reading read={found}>
        {(page) => (
          <>
            <Table
              caption={t("deployments_title")}
              columns={columns()}
              rows={page.rows}
              keyOf={(row) => row.id}
              empty={t(Object.values(asked).some(Boolean) ? "deployments_none_fit" : "deployments_none")}
            />
            <Pager next={page.nextCursor} isFirst={!cursor} onPage={setCursor} />
          </>
        )}
      </Reading>
    </>
  );
}

type FiltersProps = { asked: Record<string, string>; change: (changes: Record<string, string>) => void };

function Filters({ asked, change }: FiltersProps) {
  return (
    <search class="filters">
      <Choice name="open" title={t("filter_open")} options={[["true", t("open_yes")], ["false", t("open_no")]]} asked={asked} change={change} />
      <Choice name="state" title={t("state")} options={STATES.map((one) => [one, t(`deployment_${one}`)])} asked={asked} change={change} />
      <Choice name="strategy" title={t("strategy")} options={STRATEGIES.map((one) => [one, strategyText(one)])} asked={asked} change={change} />
      {(["rule", "node"] as const).map((name) => (
        <label key={name}>
          {t(name)} <input type="search" value={asked[name] ?? ""} onChange={(event) => change({ [name]: event.currentTarget.value.trim() })} />
        </label>
      ))}
    </search>
  );
}

type ChoiceProps = FiltersProps & { name: string; title: string; options: readonly (readonly [string, string])[] };

function Choice({ name, title, options, asked, change }: ChoiceProps) {
  return (
    <label>
      {title}{" "}
      <select value={asked[name] ?? ""} onChange={(event) => change({ [name]: event.currentTarget.value })}>
        <option value="">{t("filter_any")}</option>
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

function Reason({ of }: { of: DeploymentSummary }) {
  const paused = of.paused.map((one) => pauseText(one, { verdict: null })).join("; ");
  return (
    <>
      {of.reason && <Words text={of.reason} />} {paused}
      {!of.reason && !paused && "–"}
    </>
  );
}

const columns = (): Column<DeploymentSummary>[] => [
  { title: t("deployment"), cell: (row) => <PageLink to={deploymentPath(row.id)}>{row.id}</PageLink> },
  { title: t("rule"), cell: (row) => row.name },
  { title: t("strategy"), cell: (row) => strategyText(row.strategy) },
  { title: t("state"), cell: (row) => <DeploymentState one={row} /> },
  { title: t("nodes_title"), cell: (row) => countsText(row.counts) },
  { title: t("reason"), cell: (row) => <Reason of={row} /> },
  { title: t("started"), cell: (row) => <Time us={row.createdUs} asAgo /> },
  { title: t("who"), cell: (row) => row.createdBy || "–" },
];

