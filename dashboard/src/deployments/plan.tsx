// What a deployment would do, before anything changes; and what nodes found when they tried it on their records.
import { Badge } from "../components/badge";
import { PageLink, nodePath } from "../components/page_link";
import { type Column, Table } from "../components/table";
import { Words } from "../components/words";
import type { Plan } from "../data/api_types";
import { deploymentPath } from "../data/deployments";
import { type Key, listed, number, t } from "../text/text";
import { span } from "../text/times";
import { Differences, differencesOf } from "./cases";

type Node = Plan["nodes"][number];
type Replay = NonNullable<Plan["replay"]>[number];
const SHOWN = 200;

/** Say whether nothing would be refused. */
export const isPossible = (plan: Plan): boolean => !plan.untrusted.length && !plan.broken.length && !plan.nodes.some((one) => one.problems.length);

export function PlanShown({ plan }: { plan: Plan }) {
  const nodes = [...plan.nodes].sort((one, other) => other.problems.length - one.problems.length);
  return (
    <section aria-labelledby="plan">
      <h2 id="plan">{t("plan_title")}</h2>
      <ul class="plain">
        {plan.untrusted.map((rule) => <li key={rule} class="bad">{t("plan_untrusted", { rule })}</li>)}
        {plan.broken.map((text) => <li key={text} class="bad">{t("plan_broken")} <Words text={text} /></li>)}
        {plan.approval && <li class="warn">{t("plan_approval")} <Words text={plan.approval} /></li>}
        {plan.supersedes.map((one) => (
          <li key={one.id} class="warn">
            {t("plan_supersedes")} <PageLink to={deploymentPath(one.id)}>{one.id}</PageLink> ({one.name}, {t(`deployment_${one.state}` as Key)}): {listed(one.nodes)}
          </li>
        ))}
      </ul>
      <Table caption={t("plan_nodes")} columns={columns()} rows={nodes.slice(0, SHOWN)} keyOf={(one) => one.node} empty={t("plan_none")} />
      {nodes.length > SHOWN && <p>{t("and_more", { n: number(nodes.length - SHOWN) })}</p>}
      {plan.replay && <ReplayShown rows={plan.replay} />}
    </section>
  );
}

const columns = (): Column<Node>[] => [
  { title: t("node"), cell: (one) => <PageLink to={nodePath(one.node)}>{one.node}</PageLink> },
  { title: t("link"), cell: (one) => <Badge tone={one.connected ? "good" : "warn"} text={t(one.connected ? "board_online" : "state_offline")} /> },
  {
    title: t("plan_change"),
    cell: (one) => (
      <ul class="plain">
        {one.changes.map((change) => (
          <li key={change.rule}>{[t(`change_${change.change}`, { rule: change.rule }), stateText(change)].filter(Boolean).join("; ")}</li>
        ))}
      </ul>
    ),
  },
  { title: t("problem"), cell: (one) => (one.problems.length ? <span class="bad"><Words text={one.problems.join("; ")} /></span> : "–") },
];

function stateText(change: Node["changes"][number]): string {
  const state = change.state;
  if (!state) return "";
  const parts = (["kept", "reset", "new", "dropped"] as const).map((one) => (state[one].length ? t(`state_${one}`, { names: listed(state[one]) }) : ""));
  return [...parts, state.resetsTimeWords ? t("state_time_words") : ""].filter(Boolean).join("; ");
}

function ReplayShown({ rows }: { rows: readonly Replay[] }) {
  const note = (one: Replay) => [one.problem, ...one.missing].filter(Boolean).join("; ");
  const table: Column<Replay>[] = [
    { title: t("node"), cell: (one) => one.node },
    { title: t("rule"), cell: (one) => one.rule },
    { title: t("replay_events"), cell: (one) => number(one.events), isNumber: true },
    { title: t("replay_differing"), cell: (one) => number(one.differing), isNumber: true },
    { title: t("replay_not_compared"), cell: (one) => number(one.unlike + one.unanswered), isNumber: true },
    { title: t("replay_recorded"), cell: (one) => (one.untilUs ? span((one.untilUs - one.sinceUs) / 1e6) : "–") },
    { title: t("replay_memory"), cell: (one) => t(`memory_${one.memory}`) },
    { title: t("problem"), cell: (one) => (note(one) ? <Words text={note(one)} /> : "–") },
  ];
  return (
    <>
      <h3>{t("replay_title")}</h3>
      <Table caption={t("replay_title")} columns={table} rows={rows} keyOf={(one) => `${one.node} ${one.rule}`} empty={t("plan_none")} />
      <Differences rows={rows.flatMap(differencesOf)} title={t("replay_differences")} />
    </>
  );
}
