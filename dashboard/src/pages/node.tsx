// One node: how it stands, what it runs, its sources and drivers, its audit, and what happened last.
import { useEffect } from "preact/hooks";
import { Badge, type Tone } from "../components/badge";
import { ActionButton } from "../components/button";
import { Decided, Outcome, WhyLink, given } from "../components/execution_words";
import { Facts } from "../components/facts";
import { Field, Form } from "../components/form";
import { Heading } from "../components/heading";
import { NodeState, labelsText } from "../components/node_state";
import { PageLink, nodePath } from "../components/page_link";
import { Reading } from "../components/reading";
import { type Column, Table } from "../components/table";
import { Time } from "../components/time";
import { Curves, ExecutionsChart, MachineChart } from "../components/trend";
import { Troubles } from "../components/troubles";
import { Words } from "../components/words";
import { ask } from "../data/api";
import type { Execution, Executions, Health, LogEntries, LogEntry, Node, NodeRow } from "../data/api_types";
import { watch } from "../data/feed";
import { names, useRead, useRows } from "../data/lists";
import { troublesOf } from "../data/troubles";
import type { PageProps } from "../pages";
import { type Key, number, percent, t } from "../text/text";

const OF_NODE = ["node", "link", "manifest"] as const;
const EVENTS = 10;
const REASON_CHARS_MAX = 500;
const MINUTE_MS = 60_000;
const TONES: Record<Health["state"], Tone> = { running: "good", connecting: "warn", stopped: "quiet", failed: "bad" };

export default function NodePage({ id }: PageProps) {
  const path = `/api/nodes/${encodeURIComponent(id)}`;
  const node = useRead<Node>(path, {}, (news) => names(news, OF_NODE, id), MINUTE_MS / 2);
  const row = useRows("nodes", { node: id });
  useEffect(() => watch({ nodes: [id], records: true }), [id]);
  const now = row.value?.rows[0];
  return (
    <>
      <Heading text={id} />
      <Reading read={node}>
        {(value) => (
          <>
            {now && <Troubles troubles={troublesOf(null, [], [now], [])} />}
            {now && <State node={value} row={now} />}
            <Findings node={value} path={path} />
            <Actions node={value} path={path} />
            <Programs node={value} />
            <Ports node={value} />
            <Curves path={`${path}/trend`}>
              {(points) => (
                <>
                  <ExecutionsChart points={points} />
                  <MachineChart points={points} />
                </>
              )}
            </Curves>
            <Audit node={value} />
            <Boards id={id} />
            <LastExecutions id={id} />
            <LastEntries id={id} />
          </>
        )}
      </Reading>
    </>
  );
}

function State({ node, row }: { node: Node; row: NodeRow }) {
  const facts = node.facts;
  return (
    <Facts
      rows={[
        [t("state"), <NodeState row={row} />],
        [t("heard"), <Time us={row.lastSeenUs} asAgo />],
        row.connected && [t("connected_since"), <Time us={row.connectedSinceUs} />],
        !!node.problem && [t("problem"), <Words text={node.problem} />],
        [t("executions_per_minute"), number(row.executionsPerMinute)],
        [t("errors_per_minute"), number(row.errorsPerMinute, 1)],
        [t("processor"), percent(row.processorPercent)],
        [t("memory"), percent(row.memoryPercent)],
        [t("buffer"), bufferText(row)],
        [t("labels"), labelsText(node.labels) || "–"],
        [t("software"), [node.software, facts?.architecture, facts?.chip].filter(Boolean).join(", ") || "–"],
        [t("manifest"), t("manifest_versions", { wanted: node.manifestVersion, applied: node.appliedVersion })],
        !!node.board && [t("gateway"), <PageLink to={nodePath(node.board.gateway)}>{node.board.gateway}</PageLink>],
        !!node.board && [t("board"), boardText(node.board)],
      ]}
    />
  );
}

function bufferText(row: NodeRow): string {
  if (row.bufferRecords === null) return "–";
  const values = { n: number(row.bufferRecords), percent: percent(row.bufferPercent) };
  return t(row.connected ? "buffer_now" : "buffer_then_long", values);
}

function boardText(board: NonNullable<Node["board"]>): string {
  const flash = board.flashBytes ? percent((100 * board.flashUsedBytes) / board.flashBytes) : "–";
  const facts = t("board_facts", { state: t(`board_${board.state}`), flash, firmware: board.firmware || "–" });
  if (!board.resetCause) return facts;
  const stack = percent((100 * board.stackUsedBytes) / board.stackBytes);
  return `${facts}, ${t("board_started", { cause: t(`reset_${board.resetCause}`), stack })}`;
}

function Findings({ node, path }: { node: Node; path: string }) {
  if (!node.findings.length) return null;
  return (
    <section aria-labelledby="findings">
      <h2 id="findings">{t("findings_title")}</h2>
      <ol class="troubles">
        {node.findings.map((one) => (
          <li key={one.kind}>
            <p class="what">
              {t(`doubt_${one.kind}` as Key)} {t("since")} <Time us={one.sinceUs} />
            </p>
            <p>
              <Words text={one.evidence} />
            </p>
            <p class="next">
              {t("next_step")} <Words text={t(`next_doubt_${one.kind}` as Key, { node: node.name })} lang="" />
            </p>
          </li>
        ))}
      </ol>
      <ActionButton text={t("accept")} role="admin" question={t("accept_question")} act={() => ask("POST", `${path}/accept`)} />
    </section>
  );
}

/** Return labels as they are typed: `site=lyon line=3`. */
function parsedLabels(text: string): Record<string, string> {
  const pairs = text.split(/\s+/).filter(Boolean).map((one) => one.split("="));
  return Object.fromEntries(pairs.map(([name, ...value]) => [name, value.join("=")]));
}

function Actions({ node, path }: { node: Node; path: string }) {
  return (
    <div class="actions">
      <details>
        <summary>{t("change_labels")}</summary>
        <Form text={t("save")} role="admin" act={(values) => ask("PUT", `${path}/labels`, { labels: parsedLabels(values["labels"] ?? "") })}>
          <Field name="labels" title={t("labels")} value={labelsText(node.labels)} help={t("labels_help")} />
        </Form>
      </details>
      {!node.inDoubt && (
        <details>
          <summary>{t("quarantine")}</summary>
          <Form text={t("quarantine_button")} role="admin" act={(values) => ask("POST", `${path}/quarantine`, values)}>
            <Field name="reason" title={t("reason")} help={t("quarantine_help")} charsMax={REASON_CHARS_MAX} />
          </Form>
        </details>
      )}
      {node.drainedUs ? (
        <ActionButton text={t("undrain")} role="deploy" act={() => ask("POST", `${path}/undrain`)} />
      ) : (
        <ActionButton text={t("drain")} role="deploy" question={t("drain_question")} act={() => ask("POST", `${path}/drain`)} />
      )}
    </div>
  );
}

/** How a part stands. Of a node that is away this is what it told last: it is shown as that. */
const stateText = (node: Node, one: Health): string => (node.connected ? t(`health_${one.state}`) : t("state_then", { state: t(`health_${one.state}`) }));
const toneOf = (node: Node, one: Health): Tone => (node.connected ? TONES[one.state] : "quiet");

type Program = { rule: string; slot: string; programId: string; state: string; tone: Tone; detail: string; executions: number; failures: number };

/** What runs in which slot, as the node told last, beside what it shall run. */
function programsOf(node: Node): Program[] {
  const told = node.health.filter((one) => one.kind === "rule");
  const running = told.map((one) => ({
    rule: one.name,
    slot: one.slot,
    programId: one.programId,
    state: stateText(node, one),
    tone: toneOf(node, one),
    detail: one.detail,
    executions: one.counters["executions"] ?? 0,
    failures: one.counters["failures"] ?? one.counters["traps"] ?? 0,
  }));
  const missing = node.rules.filter((one) => !told.some((other) => other.name === one.rule && other.programId === one.wanted?.programId));
  const wanted = missing.map((one) => ({
    rule: one.rule,
    slot: "active",
    programId: one.wanted?.programId ?? "",
    state: t(`wanted_${one.wanted ? one.state : "removed"}` as Key),
    tone: (one.state === "refused" ? "bad" : one.state === "pending" ? "warn" : "quiet") as Tone,
    detail: one.reason,
    executions: 0,
    failures: 0,
  }));
  return [...running, ...wanted].sort((one, other) => one.rule.localeCompare(other.rule) || one.slot.localeCompare(other.slot));
}

function Programs({ node }: { node: Node }) {
  const columns: Column<Program>[] = [
    { title: t("rule"), cell: (one) => <PageLink to={`/rules/${one.rule}`}>{one.rule}</PageLink> },
    { title: t("slot"), cell: (one) => t(`slot_${one.slot || "active"}` as Key) },
    { title: t("program"), cell: (one) => <code title={one.programId}>{one.programId.slice(0, 12) || "–"}</code> },
    { title: t("state"), cell: (one) => <Badge tone={one.tone} text={one.state} /> },
    { title: t("reason"), cell: (one) => (one.detail ? <Words text={one.detail} /> : "–") },
    { title: t("executions"), cell: (one) => number(one.executions), isNumber: true },
    { title: t("failures"), cell: (one) => number(one.failures), isNumber: true },
  ];
  return (
    <section aria-labelledby="programs">
      <h2 id="programs">{t("programs_title")}</h2>
      <Table caption={t("programs_title")} columns={columns} rows={programsOf(node)} keyOf={(one) => `${one.rule} ${one.slot} ${one.programId}`} empty={t("programs_none")} />
    </section>
  );
}

function Ports({ node }: { node: Node }) {
  const columns: Column<Health>[] = [
    { title: t("port"), cell: (one) => one.name },
    { title: t("state"), cell: (one) => <Badge tone={toneOf(node, one)} text={stateText(node, one)} /> },
    { title: t("reason"), cell: (one) => (one.detail ? <Words text={one.detail} /> : "–") },
    { title: t("counters"), cell: (one) => <Words text={counters(one)} /> },
  ];
  const rows = node.health.filter((one) => one.kind === "port");
  return (
    <section aria-labelledby="ports">
      <h2 id="ports">{t("ports_title")}</h2>
      {!node.connected && rows.length > 0 && <p>{t("as_told_last")}</p>}
      <Table caption={t("ports_title")} columns={columns} rows={rows} keyOf={(one) => String(rows.indexOf(one))} empty={t("ports_none")} />
    </section>
  );
}

const counters = (one: Health): string =>
  Object.entries(one.counters)
    .filter(([, value]) => value)
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${number(value)}`)
    .join(", ") || "–";

function Audit({ node }: { node: Node }) {
  const { head, copy } = node;
  return (
    <section aria-labelledby="audit">
      <h2 id="audit">{t("audit_title")}</h2>
      <Facts
        rows={[
          [t("audit_head"), head ? <code title={head.hash}>{`${head.epoch}:${head.seq} ${head.hash.slice(0, 16)}`}</code> : t("audit_none")],
          [t("audit_cosigned"), copy ? <Time us={copy.keptUs} /> : t("audit_no_copy")],
          !!copy && [t("audit_copied"), t("audit_behind", { seq: copy.seq, behind: number(copy.behind) })],
          !!copy?.trouble && [t("problem"), <Words text={copy.trouble} />],
          [t("fingerprint"), <code>{node.fingerprint}</code>],
        ]}
      />
    </section>
  );
}

function Boards({ id }: { id: string }) {
  const boards = useRows("nodes", { gateway: id });
  const rows = boards.value?.rows ?? [];
  if (!rows.length) return null;
  const columns: Column<NodeRow>[] = [
    { title: t("board"), cell: (one) => <PageLink to={nodePath(one.name)}>{one.name}</PageLink> },
    { title: t("state"), cell: (one) => <NodeState row={one} /> },
    { title: t("rules"), cell: (one) => number(one.rules), isNumber: true },
    { title: t("flash_title"), cell: (one) => percent(one.board?.flashBytes ? (100 * one.board.flashUsedBytes) / one.board.flashBytes : null), isNumber: true },
  ];
  return (
    <section aria-labelledby="boards">
      <h2 id="boards">{t("boards_title")}</h2>
      <Table caption={t("boards_title")} columns={columns} rows={rows} keyOf={(one) => one.name} empty="" />
    </section>
  );
}

function LastExecutions({ id }: { id: string }) {
  const found = useRead<Executions>("/api/executions", { node: id, limit: EVENTS }, (news) => names(news, ["record"], id));
  const columns: Column<Execution>[] = [
    { title: t("time"), cell: (one) => <Time us={one.timeUs} /> },
    { title: t("execution"), cell: (one) => <WhyLink id={one.id} /> },
    { title: t("rule"), cell: (one) => <PageLink to={`/rules/${one.rule}`}>{one.rule}</PageLink> },
    { title: t("outcome"), cell: (one) => <Outcome of={one.outcome} /> },
    { title: t("went_in"), cell: (one) => given(one) || "–" },
    { title: t("decided"), cell: (one) => <Decided one={one} /> },
  ];
  return (
    <section aria-labelledby="executions">
      <h2 id="executions">{t("last_executions")}</h2>
      <Reading read={found}>
        {(page) => <Table caption={t("last_executions")} columns={columns} rows={page.executions} keyOf={(one) => one.id} empty={t("executions_none")} />}
      </Reading>
    </section>
  );
}

function LastEntries({ id }: { id: string }) {
  const found = useRead<LogEntries>("/api/log/entries", { subject: id, order: "newest", limit: EVENTS }, (news) => names(news, OF_NODE, id));
  const columns: Column<LogEntry>[] = [
    { title: t("time"), cell: (one) => <Time us={one.timeUs} /> },
    { title: t("who"), cell: (one) => one.actor },
    { title: t("what"), cell: (one) => <Words text={[one.action.replaceAll("_", " "), one.detail].filter(Boolean).join(" ")} /> },
  ];
  return (
    <section aria-labelledby="entries">
      <h2 id="entries">{t("last_entries")}</h2>
      <Reading read={found}>
        {(page) => <Table caption={t("last_entries")} columns={columns} rows={page.entries} keyOf={(one) => String(one.number)} empty={t("entries_none")} />}
      </Reading>
    </section>
  );
}
