// One deployment, live: what it waits for, what one can do, its evidence, its nodes, and what failed.
import { useEffect, useRef, useState } from "preact/hooks";
import { ActionButton } from "../components/button";
import { Badge, type Tone } from "../components/badge";
import { Facts } from "../components/facts";
import { Heading } from "../components/heading";
import { PageLink, nodePath } from "../components/page_link";
import { Reading } from "../components/reading";
import { type Column, Pager, Table } from "../components/table";
import { Time } from "../components/time";
import { Words } from "../components/words";
import { ask, idempotencyKey } from "../data/api";
import type { Deployment, DeploymentNodes, NodeProgress } from "../data/api_types";
import { NODE_STATES, type Verb, countsText, deploymentPath, pauseText, possible, rulePath, standing, stepText, strategyText } from "../data/deployments";
import { type News, watch } from "../data/feed";
import { names, useRead } from "../data/lists";
import { Differences, Failures } from "../deployments/cases";
import { Evidence } from "../deployments/evidence";
import { DeploymentState } from "../deployments/state";
import type { PageProps } from "../pages";
import { choose, go, query } from "../shell/router";
import { number, t } from "../text/text";
import { span } from "../text/times";

const ROWS = 50;
const OF_DEPLOYMENT = ["deployment", "progress"] as const;
const TONES: Partial<Record<NodeProgress["state"], Tone>> = { refused: "bad", silent: "bad", installed: "good", staged: "good", returning: "warn" };

export default function DeploymentPage({ id }: PageProps) {
  const path = `/api/deployments/${encodeURIComponent(id)}`;
  const here = useRef(new Set<string>());
  // A node that loses its link may be what it waits for.
  const isNews = (news: News) => names(news, OF_DEPLOYMENT, id) || news.changes.some((one) => one.kind === "link" && here.current.has(one.subject));
  const found = useRead<Deployment>(path, {}, isNews);
  here.current = new Set(found.value?.nodes.map((one) => one.node));
  useEffect(() => watch({}), []);
  return (
    <>
      <Heading text={t("deployment_of", { name: found.value?.name ?? id })} />
      <Reading read={found}>
        {(one) => (
          <>
            <div class="standing">
              <p role="status">
                <DeploymentState one={one} />
              </p>
              <p class="waits">{standing(one)}</p>
              {one.reason && (
                <p>
                  {t("reason")}: <Words text={one.reason} />
                </p>
              )}
            </div>
            <Steering one={one} path={path} />
            <About one={one} />
            <Evidence deployment={one} />
            <Nodes one={one} path={path} isNews={isNews} />
            <Failures rows={one.failures} />
            {one.differences.length > 0 && (
              <section>
                <h2>{t("differences_title")}</h2>
                <Differences rows={one.differences} title={t("differences_newest")} />
              </section>
            )}
          </>
        )}
      </Reading>
    </>
  );
}

/** What the state and the token allow. The feed then tells what came of it. */
function Steering({ one, path }: { one: Deployment; path: string }) {
  const key = useRef(idempotencyKey()); // pressed again when the answer was lost, it begins one
  const act = async (verb: Verb) => {
    const after = await ask<Deployment>("POST", `${path}/${verb}`, undefined, verb === "retry" ? key.current : {});
    if (after.id !== one.id) go(deploymentPath(after.id));
  };
  return (
    <div class="actions">
      {possible(one).map((verb) => (
        <ActionButton key={verb} text={t(`do_${verb}`)} role="deploy" question={t(`ask_${verb}`)} act={() => act(verb)} />
      ))}
    </div>
  );
}

function About({ one }: { one: Deployment }) {
  const { options } = one;
  const watches = options.observeS
    ? t("watches", { time: span(options.observeS), samples: number(options.samplesMin), failures: number(options.failuresMaxPercent, 2), starts: number(options.startsMax) })
    : t("watches_nothing");
  return (
    <Facts
      rows={[
        [t("deployment"), <code>{one.id}</code>],
        [t("strategy"), strategyText(one.strategy)],
        !one.over && [t("step"), <>{stepText(one)}, {t("since")} <Time us={one.phaseSinceUs || one.createdUs} asAgo /></>],
        [t("settings"), `${watches} ${t(one.rollbackOnError ? "goes_back_on_error" : "stays_on_error")}`],
        [t("started"), <><Time us={one.createdUs} /> {t("by", { who: one.createdBy || "–" })}</>],
        [one.over ? t("ended") : t("deadline"), <Time us={one.over ? one.updatedUs : one.deadlineUs} />],
        one.paused.length > 0 && [t("paused"), <Pauses one={one} />],
        [t("rules"), <Changes one={one} />],
      ]}
    />
  );
}

function Pauses({ one }: { one: Deployment }) {
  return (
    <ul class="plain">
      {one.paused.map((pause) => (
        <li key={pause.code}>
          <Pause pause={pause} one={one} />, {t("since")} <Time us={pause.sinceUs} asAgo />
        </li>
      ))}
    </ul>
  );
}

/** A policy says who must approve, and why: in its own words. */
function Pause({ pause, one }: { pause: Deployment["paused"][number]; one: Deployment }) {
  const text = pauseText(pause, one);
  if (pause.code !== "approval") return <Words text={text} lang={text === pause.text ? "en" : ""} />;
  return (
    <>
      {text}: <Words text={pause.text} />
    </>
  );
}

const CHANGES_SHOWN = 20;

function Changes({ one }: { one: Deployment }) {
  const params = (values: Record<string, unknown>) => Object.entries(values).map(([name, value]) => `${name} = ${String(value)}`).join(", ");
  return (
    <ul class="plain">
      {one.changes.slice(0, CHANGES_SHOWN).map((change) => (
        <li key={change.rule}>
          <PageLink to={rulePath(change.rule)}>{change.rule}</PageLink>{" "}
          {change.programId ? <code title={change.programId}>{change.programId.slice(0, 12)}</code> : t("removed")}
          {change.boardPrograms.map((board) => (
            <>, {board.chip} <code title={board.programId}>{board.programId.slice(0, 12)}</code></>
          ))}{" "}
          {params(change.params)}
        </li>
      ))}
      {one.changes.length > CHANGES_SHOWN && <li>{t("and_more", { n: number(one.changes.length - CHANGES_SHOWN) })}</li>}
    </ul>
  );
}

type NodesProps = { one: Deployment; path: string; isNews: (news: News) => boolean };

function Nodes({ one, path, isNews }: NodesProps) {
  const [cursor, setCursor] = useState("");
  const state = query.value.get("state") ?? "";
  const name = query.value.get("name") ?? "";
  const found = useRead<DeploymentNodes>(`${path}/nodes`, { state, name, cursor, limit: ROWS }, isNews);
  const change = (changes: Record<string, string>) => {
    setCursor("");
    choose(changes);
  };
  return (
    <section aria-labelledby="nodes">
      <h2 id="nodes">{t("nodes_title")}</h2>
      <p>{countsText(one.counts)}</p>
      <search class="filters">
        <label>
          {t("state")}{" "}
          <select value={state} onChange={(event) => change({ state: event.currentTarget.value })}>
            <option value="">{t("filter_any")}</option>
            {NODE_STATES.map((each) => (
              <option key={each} value={each}>
                {t(`progress_${each}`)}
              </option>
            ))}
          </select>
        </label>
        <label>
          {t("filter_name")} <input type="search" value={name} onInput={(event) => change({ name: event.currentTarget.value })} />
        </label>
      </search>
      <Reading read={found}>
        {(page) => (
          <>
            <Table caption={t("nodes_title")} columns={columns()} rows={page.nodes} keyOf={(node) => node.node} empty={t("nodes_none_fit")} />
            <Pager next={page.nextCursor} isFirst={!cursor} onPage={setCursor} />
          </>
        )}
      </Reading>
    </section>
  );
}

const columns = (): Column<NodeProgress>[] => [
  { title: t("node"), cell: (node) => <PageLink to={nodePath(node.node)}>{node.node}</PageLink> },
  { title: t("state"), cell: (node) => <Badge tone={TONES[node.state] ?? "quiet"} text={t(`progress_${node.state}`)} /> },
  { title: t("link"), cell: (node) => <Badge tone={node.connected ? "good" : "warn"} text={t(node.connected ? "board_online" : "state_offline")} /> },
  { title: t("place"), cell: (node) => t(`place_${node.place}`) },
  { title: t("step"), cell: (node) => (node.phase < 0 ? "–" : number(node.phase + 1)), isNumber: true },
  { title: t("evidence_of_node"), cell: (node) => number(node.executions), isNumber: true },
  { title: t("failures_of_node"), cell: (node) => number(node.failures), isNumber: true },
  { title: t("reason"), cell: (node) => (node.reason ? <Words text={node.reason} /> : "–") },
];
