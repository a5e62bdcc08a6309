// Single executions that tell why: those that failed, and those on which two programs decided otherwise.
import { PageLink, nodePath } from "../components/page_link";
import { Time } from "../components/time";
import { Words } from "../components/words";
import type { Deployment, Plan } from "../data/api_types";
import { rulePath } from "../data/deployments";
import { number, t } from "../text/text";

type Failure = Deployment["failures"][number];
const SHOWN = 5;
type Trace = Deployment["differences"][number]["active"];
export type Differing = { timeUs: number; event: string; key: string; active: Trace; candidate: Trace; node?: string; rule?: string; epoch?: number };

/** The post-mortem: the newest executions that failed, with what came in, what was read and decided, and the line. */
export function Failures({ rows }: { rows: readonly Failure[] }) {
  if (!rows.length) return null;
  return (
    <section aria-labelledby="failures">
      <h2 id="failures">{t("failures_title")}</h2>
      <FailureList rows={rows.slice(0, SHOWN)} />
      {rows.length > SHOWN && (
        <details>
          <summary>{t("and_more", { n: number(rows.length - SHOWN) })}</summary>
          <FailureList rows={rows.slice(SHOWN)} />
        </details>
      )}
    </section>
  );
}

function FailureList({ rows }: { rows: readonly Failure[] }) {
  return (
    <ol class="troubles">
      {rows.map((one) => (
        <li key={`${one.node} ${one.epoch} ${one.seq} ${one.timeUs} ${one.what}`}>
          <p class="what">
            <Words text={one.what} /> <span><Time us={one.timeUs} /></span>
          </p>
          <p>
            <PageLink to={nodePath(one.node)}>{one.node}</PageLink>, <PageLink to={lineOf(one)}>{one.rule}</PageLink>,{" "}
            {t(`slot_${one.slot}`)}{one.seq > 0 && <>, <Record node={one.node} epoch={one.epoch} seq={one.seq} /></>}
          </p>
          <Event event={one.event} eventKey={one.key} />
          <Lines title={t("read_inputs")} lines={one.reads} />
          <Lines title={t("decided")} lines={one.decided} />
        </li>
      ))}
    </ol>
  );
}

/** The place in the rule: of the line that it names, in the version that ran. */
function lineOf(one: Failure): string {
  const line = /at line (\d+)$/.exec(one.what)?.[1];
  return `${rulePath(one.rule)}?program=${one.programId}${line ? `&line=${line}` : ""}`;
}

/** Events on which a program that does not act decided otherwise than the active one. */
export function Differences({ rows, title }: { rows: readonly Differing[]; title: string }) {
  if (!rows.length) return null;
  return (
    <>
      <h3>{title}</h3>
      <ol class="troubles differing">
        {rows.map((one, at) => (
          <li key={`${one.timeUs} ${at}`}>
            <p class="what">
              <Time us={one.timeUs} />{" "}
              <span>{one.node && <PageLink to={nodePath(one.node)}>{one.node}</PageLink>} {one.rule}</span>
            </p>
            <Event event={one.event} eventKey={one.key} />
            <Lines title={t("active_did")} lines={one.active.decided} none={t("did_nothing")} />
            <Lines title={t("candidate_would")} lines={one.candidate.decided} none={t("did_nothing")} />
            <Lines title={t("read_inputs")} lines={[...new Set([...one.active.reads, ...one.candidate.reads])]} />
            {one.node && one.active.seq > 0 && <p><Record node={one.node} epoch={one.epoch ?? 0} seq={one.active.seq} /></p>}
          </li>
        ))}
      </ol>
    </>
  );
}

/** What nodes found when they ran a program on their own records. */
export const differencesOf = (one: NonNullable<Plan["replay"]>[number]): Differing[] =>
  one.differences.map((each) => ({ ...each, node: one.node, rule: one.rule }));

function Record({ node, epoch, seq }: { node: string; epoch: number; seq: number }) {
  return <PageLink to={`/executions/${encodeURIComponent(`${node}:${epoch}:${seq}`)}`}>{t("audit_record", { seq })}</PageLink>;
}

function Event({ event, eventKey }: { event: string; eventKey: string }) {
  if (!event) return null;
  return (
    <p>
      {t("event")}: <Words text={event} />
      {eventKey && <> ({t("key")} <code>{eventKey}</code>)</>}
    </p>
  );
}

function Lines({ title, lines, none = "" }: { title: string; lines: readonly string[]; none?: string }) {
  if (!lines.length && !none) return null;
  return (
    <p>
      {title}: {lines.length ? <Words text={lines.join("; ")} /> : none}
    </p>
  );
}
