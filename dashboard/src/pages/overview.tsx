// The cluster at a glance: the sums, what is wrong with what to do, and the nodes that need a look first.
import { useEffect, useRef } from "preact/hooks";
import { Heading } from "../components/heading";
import { NodeState, buffer } from "../components/node_state";
import { PageLink, nodePath } from "../components/page_link";
import { Reading } from "../components/reading";
import { type Column, Table } from "../components/table";
import { Time } from "../components/time";
import { Curves, ExecutionsChart } from "../components/trend";
import { Troubles } from "../components/troubles";
import { session } from "../data/api";
import type { NodeRow, Status } from "../data/api_types";
import { type News, status, watch } from "../data/feed";
import { useRows } from "../data/lists";
import { troublesOf } from "../data/troubles";
import { count, number, percent, t } from "../text/text";

const NODES_SHOWN = 20;
const TROUBLES_SHOWN = 50;

export default function Overview() {
  const sumsChange = useSumsChange();
  const nodes = useRows("nodes", { sort: "worst", limit: NODES_SHOWN }, sumsChange);
  const alarms = useRows("alarms", { open: true, limit: TROUBLES_SHOWN });
  const deployments = useRows("deployments", { open: true, limit: TROUBLES_SHOWN });
  const shown = nodes.value?.rows.map((row) => row.name) ?? [];
  useEffect(() => watch({ nodes: shown }), [shown.join()]);
  const sums = status.value;
  const troubles = troublesOf(sums, alarms.value?.rows ?? [], nodes.value?.rows ?? [], deployments.value?.rows ?? []);
  // A token for some nodes may not ask what all of them did together.
  const isOfAll = !Object.keys(session.value?.labels ?? {}).length;
  const isKnown = !!sums && !!nodes.value;
  return (
    <>
      <Heading text={t("overview_title")} />
      {sums ? <Sums sums={sums} /> : <p>{t("loading")}</p>}
      <section aria-labelledby="wrong">
        <h2 id="wrong">{t("wrong_title")}</h2>
        {isKnown && !troubles.length && <p class="good">{t("wrong_nothing")}</p>}
        {isKnown ? <Troubles troubles={troubles.slice(0, TROUBLES_SHOWN)} /> : <p>{t("loading")}</p>}
      </section>
      {isOfAll && <Curves path="/api/trend">{(points) => <ExecutionsChart points={points} />}</Curves>}
      <section aria-labelledby="first-nodes">
        <h2 id="first-nodes">{t("overview_nodes")}</h2>
        <Reading read={nodes}>{(page) => <Nodes rows={page.rows} total={page.total ?? 0} />}</Reading>
      </section>
    </>
  );
}

/** Says whether the sums are other than before: then other nodes may be the worst. */
function useSumsChange(): (news: News) => boolean {
  const before = useRef("");
  return (news) => {
    if (!news.status) return false;
    const { active, failing, pending, drained, nodes } = news.status.summary;
    const now = [active, failing, pending, drained, nodes, news.status.inDoubt].join();
    const isOther = before.current !== "" && before.current !== now;
    before.current = now;
    return isOther;
  };
}

function Sums({ sums }: { sums: Status }) {
  const { summary, alarms } = sums;
  return (
    <dl class="sums">
      <Sum title={t("sum_active")} value={`${number(summary.active)}/${number(summary.nodes)}`} more={health(sums)} />
      <Sum title={t("sum_executions")} value={number(summary.executionsPerMinute)} more={count("sum_waiting", summary.waiting)} />
      <Sum title={t("sum_errors")} value={number(summary.errorsPerMinute, 1)} more={t("sum_errors_more")} />
      <Sum title={t("sum_deployments")} value={number(sums.openDeployments)} more={count("sum_pending", summary.pending)} to="/deployments?open=true" />
      <Sum title={t("sum_alarms")} value={number(alarms.open)} more={count("sum_new", alarms.new)} to="/alarms" />
    </dl>
  );
}

function health(sums: Status): string {
  const { summary } = sums;
  const away = summary.nodes - summary.active;
  const words = [
    summary.failing ? count("sum_failing", summary.failing) : "",
    away ? count("sum_offline", away) : "",
    summary.drained ? count("sum_drained", summary.drained) : "",
  ].filter(Boolean);
  return words.join(", ") || t("sum_fine");
}

function Sum({ title, value, more, to }: { title: string; value: string; more: string; to?: string }) {
  return (
    <div>
      <dt>{to ? <PageLink to={to}>{title}</PageLink> : title}</dt>
      <dd>
        <strong>{value}</strong>
        <span>{more}</span>
      </dd>
    </div>
  );
}

const columns = (): Column<NodeRow>[] => [
  { title: t("node"), cell: (row) => <PageLink to={nodePath(row.name)}>{row.name}</PageLink> },
  { title: t("state"), cell: (row) => <NodeState row={row} /> },
  { title: t("heard"), cell: (row) => <Time us={row.lastSeenUs} asAgo /> },
  { title: t("rules"), cell: (row) => number(row.rules), isNumber: true },
  { title: t("executions_per_minute"), cell: (row) => number(row.executionsPerMinute), isNumber: true },
  { title: t("processor"), cell: (row) => percent(row.processorPercent), isNumber: true },
  { title: t("memory"), cell: (row) => memory(row), isNumber: true },
  { title: t("buffer"), cell: (row) => buffer(row), isNumber: true },
];

/** A board has flash in place of memory. */
function memory(row: NodeRow): string {
  if (!row.board?.flashBytes) return percent(row.memoryPercent);
  return t("flash", { percent: percent((100 * row.board.flashUsedBytes) / row.board.flashBytes) });
}

function Nodes({ rows, total }: { rows: readonly NodeRow[]; total: number }) {
  return (
    <>
      <Table caption={t("overview_nodes")} columns={columns()} rows={rows} keyOf={(row) => row.name} empty={t("nodes_none")} />
      {total > rows.length && (
        <p>
          <PageLink to="/nodes">{count("nodes_all", total)}</PageLink>
        </p>
      )}
    </>
  );
}
