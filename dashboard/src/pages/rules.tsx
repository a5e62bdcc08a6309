// All rules: their newest version, and how many nodes shall run which.
import { useEffect, useState } from "preact/hooks";
import { Heading } from "../components/heading";
import { PageLink } from "../components/page_link";
import { Reading } from "../components/reading";
import { type Column, Pager, Table } from "../components/table";
import { Time } from "../components/time";
import type { Rule, Rules as RulePage } from "../data/api_types";
import { rulePath } from "../data/deployments";
import { watch } from "../data/feed";
import { names, useRead } from "../data/lists";
import { choose, query } from "../shell/router";
import { count, number, t } from "../text/text";

const ROWS = 50;
const MANY = 20; // so many of its programs tell the coordinator's list of rules, and those that run

export default function Rules() {
  const [cursor, setCursor] = useState("");
  const asked = { name: query.value.get("name") ?? "", node: query.value.get("node") ?? "" };
  const found = useRead<RulePage>("/api/rules", { ...asked, limit: ROWS, cursor }, (news) => names(news, ["program", "rule", "deployment"]));
  useEffect(() => watch({}), []);
  const change = (changes: Record<string, string>) => {
    setCursor("");
    choose(changes);
  };
  return (
    <>
      <Heading text={t("rules")} />
      <search class="filters">
        <label>
          {t("filter_name")} <input type="search" value={asked.name} onInput={(event) => change({ name: event.currentTarget.value })} />
        </label>
        <label>
          {t("node")} <input type="search" value={asked.node} onChange={(event) => change({ node: event.currentTarget.value.trim() })} />
        </label>
      </search>
      <Reading read={found}>
        {(page) => (
          <>
            <Table caption={t("rules")} columns={columns()} rows={page.rules} keyOf={(one) => one.rule} empty={t(asked.name || asked.node ? "rules_none_fit" : "rules_none")} />
            <Pager next={page.nextCursor} isFirst={!cursor} onPage={setCursor} />
          </>
        )}
      </Reading>
    </>
  );
}

const columns = (): Column<Rule>[] => [
  { title: t("rule"), cell: (one) => <PageLink to={rulePath(one.rule)}>{one.rule}</PageLink> },
  { title: t("newest_version"), cell: (one) => one.programs[0]?.version ?? "–" },
  { title: t("uploaded"), cell: (one) => <Time us={one.programs[0]?.uploadedUs ?? 0} asAgo /> },
  { title: t("versions"), cell: (one) => (one.programs.length < MANY ? number(one.programs.length) : t("at_least", { n: number(one.programs.length) })), isNumber: true },
  { title: t("nodes_title"), cell: (one) => number(one.nodes), isNumber: true },
  { title: t("runs_as"), cell: (one) => one.programs.filter((each) => each.nodes).map((each) => `${each.version}: ${count("nodes_found", each.nodes)}`).join(", ") || "–" },
];
