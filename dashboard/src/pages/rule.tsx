// One rule: its versions and who signed them, what was proven, its parameters, and where which version runs.
import { useEffect, useRef, useState } from "preact/hooks";
import { Badge } from "../components/badge";
import { Facts } from "../components/facts";
import { Heading } from "../components/heading";
import { PageLink, nodePath } from "../components/page_link";
import { Reading } from "../components/reading";
import { type Column, Pager, Table } from "../components/table";
import { TestResults } from "../components/test_results";
import { SourceText } from "../components/source_text";
import { Time } from "../components/time";
import { Words } from "../components/words";
import { may } from "../data/api";
import type { DeploymentSummary, Deployments, Key as Signer, Keys, Nodes, Program, ProgramSource, Programs, Rules } from "../data/api_types";
import { deploymentPath, strategyText } from "../data/deployments";
import { type Param, paramsOf, shown } from "../data/drafts";
import { watch } from "../data/feed";
import { names, useRead } from "../data/lists";
import { type Running, runningOf } from "../data/rules";
import { DeploymentState } from "../deployments/state";
import type { PageProps } from "../pages";
import { choose, query } from "../shell/router";
import { number, t } from "../text/text";

const ROWS = 50;
const DEPLOYMENTS_SHOWN = 10;

export default function RulePage({ id }: PageProps) {
  const [cursor, setCursor] = useState("");
  const programs = useRead<Programs>("/api/programs", { rule: id, limit: ROWS, cursor }, (news) => names(news, ["program"]));
  const rules = useRead<Rules>("/api/rules", { rule: id }, (news) => names(news, ["program", "rule", "deployment"]));
  const keys = useRead<Keys>("/api/keys", { limit: 1000 }, (news) => names(news, ["key"]));
  const counts = Object.fromEntries((rules.value?.rules[0]?.programs ?? []).map((one) => [one.id, one.nodes]));
  const signers = new Map(keys.value?.keys.map((one) => [one.publicKey, one]));
  return (
    <>
      <Heading text={id} />
      <Reading read={programs}>
        {(page) => {
          const isFirst = !cursor;
          if (!page.programs.length && isFirst) return <p>{t("rule_unknown", { name: id })}</p>;
          const asked = query.value.get("program");
          const running = page.programs.find((one) => counts[one.id]);
          const chosen = asked ? page.programs.find((one) => one.id === asked) : running ?? page.programs[0];
          return (
            <>
              {chosen && <Shown program={chosen} signers={signers} />}
              {asked && !chosen && <OtherVersion id={asked} signers={signers} />}
              <section aria-labelledby="versions">
                <h2 id="versions">{t("versions")}</h2>
                <Table caption={t("versions")} columns={columns(counts, signers, chosen)} rows={page.programs} keyOf={(one) => one.id} empty={t("rules_none_fit")} />
                <Pager next={page.nextCursor} isFirst={isFirst} onPage={setCursor} />
              </section>
              <WhereItRuns rule={id} programs={page.programs} />
              <LastDeployments rule={id} />
            </>
          );
        }}
      </Reading>
    </>
  );
}

/** The text of a version. The coordinator keeps it only if it compiles to the program. The address may name a line. */
function Source({ program }: { program: Program }) {
  const found = useRead<ProgramSource>(`/api/programs/${program.id}/source`, {}, (news) => names(news, ["program"], program.id));
  const place = useRef<HTMLElement>(null);
  const line = Number(query.value.get("line"));
  const isThere = !!found.value?.source;
  useEffect(() => place.current?.querySelector(".marked")?.scrollIntoView({ block: "center" }), [isThere, line]);
  const notes = new Map([[line, <span class="note">{t("line_asked")}</span>]]);
  return (
    <section aria-labelledby="source" ref={place}>
      <h2 id="source">{t("source_title")}</h2>
      <Reading read={found}>
        {({ source }) => (source ? <SourceText name={t("source_of", { version: program.version })} text={source} notes={notes} /> : <p>{t("source_not_here")}</p>)}
      </Reading>
    </section>
  );
}

type Signers = ReadonlyMap<string, Signer>;

/** Who signed, by the names of the keys; a key that is trusted no more says so. */
function SignedBy({ program, signers }: { program: Program; signers: Signers }) {
  return (
    <>
      {program.signers.map((one, at) => {
        const known = signers.get(one);
        return (
          <span key={one}>
            {at > 0 && ", "}
            <span title={known?.fingerprint ?? one}>{known?.name || one.slice(0, 12)}</span>
            {(!known || known.revokedUs > 0) && <> <Badge tone="bad" text={t("not_trusted")} /></>}
          </span>
        );
      })}
    </>
  );
}

function Shown({ program, signers }: { program: Program; signers: Signers }) {
  return (
    <>
      <Version program={program} signers={signers} />
      <TestResults program={program.id} />
      <Source program={program} />
    </>
  );
}

/** A version that is not on this page of the list. */
function OtherVersion({ id, signers }: { id: string; signers: Signers }) {
  const found = useRead<Program>(`/api/programs/${encodeURIComponent(id)}`, {}, () => false);
  return <Reading read={found}>{(program) => <Shown program={program} signers={signers} />}</Reading>;
}

function Version({ program, signers }: { program: Program; signers: Signers }) {
  const { limits } = program;
  return (
    <section aria-labelledby="version">
      <h2 id="version">{t("version_of", { version: program.version })}</h2>
      {program.description && <p>{program.description}</p>}
      <Facts
        rows={[
          [t("program"), <code>{program.id}</code>],
          [t("signed_by"), <SignedBy program={program} signers={signers} />],
          [t("profile"), [program.profile, program.chip].filter(Boolean).join(", ")],
          [t("priority"), program.priority],
          [t("sequence"), number(program.sequence)],
          [t("size"), t("bytes", { n: number(program.sizeBytes) })],
          [t("events_from"), program.sources.join(", ") || "–"],
          [t("capabilities"), program.capabilities.join(", ") || "–"],
        ]}
      />
      {may("deploy") && (
        <p>
          <PageLink to={`/deployments/new?rule=${encodeURIComponent(program.rule)}&program=${program.id}`}>{t("deploy_version", { version: program.version })}</PageLink>
        </p>
      )}
      <h3>{t("limits_title")}</h3>
      <Facts
        rows={[
          [t("limit_fuel"), number(limits["fuelMax"])],
          [t("limit_stack"), number(limits["stackMax"])],
          [t("limit_state"), t("bytes", { n: number(limits["stateBytes"]) })],
          [t("limit_actions"), number(limits["actionsMax"])],
        ]}
      />
      <h3>{t("params_title")}</h3>
      <Table caption={t("params_title")} columns={paramColumns()} rows={paramsOf(program)} keyOf={(one) => one.name} empty={t("params_none")} />
    </section>
  );
}

const paramColumns = (): Column<Param>[] => [
  { title: t("filter_name"), cell: (one) => one.name },
  { title: t("type"), cell: (one) => (one.type === "duration" ? t("in_seconds", { name: one.type }) : one.type) },
  { title: t("default"), cell: (one) => shown(one, one.default) },
  { title: t("range"), cell: range },
];

function range(one: Param): string {
  if (one.members) return one.members.join(", ");
  if (one.low === undefined && one.high === undefined) return t("any_value");
  return t("from_to", { low: shown(one, one.low), high: shown(one, one.high) });
}

const columns = (counts: Record<string, number>, signers: Signers, chosen: Program | undefined): Column<Program>[] => [
  {
    title: t("version"),
    cell: (one) => (
      <button type="button" class="plain link" aria-pressed={one === chosen} onClick={() => choose({ program: one.id })}>
        {one.version}
      </button>
    ),
  },
  { title: t("program"), cell: (one) => <code title={one.id}>{one.id.slice(0, 12)}</code> },
  { title: t("signed_by"), cell: (one) => <SignedBy program={one} signers={signers} /> },
  { title: t("uploaded"), cell: (one) => <Time us={one.uploadedUs} asAgo /> },
  { title: t("who"), cell: (one) => one.uploadedBy || "–" },
  { title: t("nodes_title"), cell: (one) => number(counts[one.id] ?? 0), isNumber: true },
];

function WhereItRuns({ rule, programs }: { rule: string; programs: readonly Program[] }) {
  const [cursor, setCursor] = useState("");
  const here = useRef(new Set<string>());
  const found = useRead<Nodes>("/api/nodes", { rule, limit: ROWS, cursor }, (news) =>
    news.changes.some((one) => one.kind === "deployment" || (["node", "link", "manifest"].includes(one.kind) && here.current.has(one.subject))),
  );
  const nodes = found.value?.nodes.map((one) => one.name) ?? [];
  here.current = new Set(nodes);
  useEffect(() => watch({ nodes }), [nodes.join()]);
  const versions = new Map(programs.map((one) => [one.id, one.version]));
  return (
    <section aria-labelledby="where">
      <h2 id="where">{t("where_it_runs")}</h2>
      <Reading read={found}>
        {(page) => (
          <>
            <Table
              caption={t("where_it_runs")}
              columns={placeColumns(versions)}
              rows={page.nodes.flatMap((one) => runningOf(one, rule))}
              keyOf={(one) => `${one.node} ${one.slot} ${one.programId}`}
              empty={t("runs_nowhere")}
            />
            <Pager next={page.nextCursor} isFirst={!cursor} onPage={setCursor} />
          </>
        )}
      </Reading>
    </section>
  );
}

const placeColumns = (versions: ReadonlyMap<string, string>): Column<Running>[] => [
  { title: t("node"), cell: (one) => <PageLink to={nodePath(one.node)}>{one.node}</PageLink> },
  { title: t("slot"), cell: (one) => t(one.slot === "candidate" ? "slot_candidate" : "slot_active") },
  { title: t("version"), cell: (one) => versions.get(one.programId) ?? (one.programId.slice(0, 12) || "–") },
  { title: t("state"), cell: (one) => <Badge tone={one.tone} text={one.connected ? one.state : t("state_then", { state: one.state })} /> },
  { title: t("reason"), cell: (one) => (one.detail ? <Words text={one.detail} /> : "–") },
  { title: t("params_title"), cell: (one) => Object.entries(one.params).map(([name, value]) => `${name} = ${String(value)}`).join(", ") || t("params_usual") },
];

function LastDeployments({ rule }: { rule: string }) {
  const found = useRead<Deployments>("/api/deployments", { rule, limit: DEPLOYMENTS_SHOWN }, (news) => names(news, ["deployment"]));
  const table: Column<DeploymentSummary>[] = [
    { title: t("deployment"), cell: (one) => <PageLink to={deploymentPath(one.id)}>{one.id}</PageLink> },
    { title: t("strategy"), cell: (one) => strategyText(one.strategy) },
    { title: t("state"), cell: (one) => <DeploymentState one={one} /> },
    { title: t("started"), cell: (one) => <Time us={one.createdUs} asAgo /> },
  ];
  return (
    <section aria-labelledby="last-deployments">
      <h2 id="last-deployments">{t("last_deployments")}</h2>
      <Reading read={found}>
        {(page) => <Table caption={t("last_deployments")} columns={table} rows={page.deployments} keyOf={(one) => one.id} empty={t("deployments_none")} />}
      </Reading>
      <p>
        <PageLink to={`/deployments?rule=${encodeURIComponent(rule)}`}>{t("deployments_of_rule")}</PageLink>
      </p>
    </section>
  );
}
