// One execution: what went in, the way through its rule, what it decided, and where it stands in the audit.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Badge } from "../components/badge";
import { ErrorText } from "../components/button";
import { Outcome, assigned, callText, executionPath, given, unsent, valueText } from "../components/execution_words";
import { Facts } from "../components/facts";
import { Heading } from "../components/heading";
import { PageLink, nodePath } from "../components/page_link";
import { RuleWay } from "../components/rule_way";
import { type Column, Table } from "../components/table";
import { Time } from "../components/time";
import { Words } from "../components/words";
import { ApiError, get } from "../data/api";
import type { EndedAction, Why } from "../data/api_types";
import { watch } from "../data/feed";
import type { PageProps } from "../pages";
import { count, number, t } from "../text/text";

export default function ExecutionPage({ id }: PageProps) {
  useEffect(() => watch({}), []);
  return (
    <>
      <Heading text={t("execution_title", { id })} />
      <Explained key={id} id={id} />
    </>
  );
}

/** Asks for the explanation, which takes a moment: the program runs what came before again. */
function Explained({ id }: { id: string }) {
  const [found, setFound] = useState<Why>();
  const [error, setError] = useState<ApiError | null>(null);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    const over = new AbortController(); // there is no other bound: who waits sees for how long, and may leave
    setError(null);
    get<Why>(`/api${executionPath(id)}/why`, {}, over.signal).then(setFound, (raised) => {
      if (!(raised instanceof ApiError)) throw raised;
      if (!over.signal.aborted) setError(raised);
    });
    return () => over.abort();
  }, [id, attempt]);
  const again = () => setAttempt(attempt + 1);
  if (found) return <Explanation why={found} />;
  if (!error) return <Waiting key={attempt} />;
  return <Refused key={attempt} error={error} again={again} />;
}

function useSeconds(): number {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const began = performance.now();
    const timer = window.setInterval(() => setSeconds(Math.floor((performance.now() - began) / 1000)), 500);
    return () => clearInterval(timer);
  }, []);
  return seconds;
}

function Waiting() {
  const seconds = useSeconds();
  return (
    <>
      <p role="status">{t("why_waits")}</p>
      <progress aria-label={t("why_waits")} />
      {seconds > 0 && <p aria-hidden="true">{count("why_seconds", seconds)}</p>}
    </>
  );
}

/** Why there is no explanation. Where it helps to ask later, that is done, and the reader sees when. */
function Refused({ error, again }: { error: ApiError; again: () => void }) {
  const left = error.retryAfterS - useSeconds();
  const isDue = error.retryAfterS > 0 && left <= 0;
  useEffect(() => {
    if (isDue) again();
  }, [isDue]);
  return (
    <>
      <p role="alert">
        <ErrorText error={error} />
      </p>
      {error.retryAfterS > 0 && <p>{count("why_retry", Math.max(0, left))}</p>}
      <button type="button" onClick={again}>
        {t("try_again")}
      </button>
    </>
  );
}

function Explanation({ why }: { why: Why }) {
  return (
    <>
      <p role="status" class="unseen">
        {t("why_done")}
      </p>
      <Head why={why} />
      <Section id="decided" title={t("decided")}>
        <Actions why={why} />
      </Section>
      <Section id="way" title={t("way_title")}>
        <RuleWay why={why} />
      </Section>
      <Section id="went-in" title={t("went_in")}>
        <WentIn why={why} />
      </Section>
      <Section id="state" title={t("state_variables")}>
        <State why={why} />
      </Section>
      <Section id="again" title={t("again_title")}>
        <Again why={why} />
      </Section>
      <Section id="program" title={t("program")}>
        <Program why={why} />
      </Section>
      <Section id="chain" title={t("chain_title")}>
        <Chain why={why} />
      </Section>
    </>
  );
}

function Section({ id, title, children }: { id: string; title: string; children: ComponentChildren }) {
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  );
}

function Head({ why: { execution: one, program } }: { why: Why }) {
  return (
    <Facts
      rows={[
        [t("time"), <Time us={one.timeUs} />],
        [t("node"), <PageLink to={nodePath(one.node)}>{one.node}</PageLink>],
        [t("rule"), <><PageLink to={`/rules/${one.rule}`}>{one.rule}</PageLink> {program.version}</>],
        [t("trigger"), one.trigger || t("not_known")],
        !!one.key && [t("event_key"), one.key],
        one.slot !== "active" && [t("slot"), t("slot_candidate")],
        [t("outcome"), <Outcome of={one.outcome} />],
      ]}
    />
  );
}

function Actions({ why: { execution, actions } }: { why: Why }) {
  const columns: Column<EndedAction>[] = [
    { title: t("action"), cell: (one) => <code>{callText(one)}</code> },
    { title: t("line"), cell: (one) => one.line || "–", isNumber: true },
    { title: t("became_of_it"), cell: (one) => <End one={one} /> },
    { title: t("end_record"), cell: (one) => one.resultSeq || "–", isNumber: true },
  ];
  return (
    <>
      {execution.trap && (
        <p>
          <Badge tone="bad" text={t("trapped_at", { name: execution.trap.name, line: execution.trap.line || "–" })} />
        </p>
      )}
      <Table caption={t("decided")} columns={columns} rows={actions} keyOf={(one) => String(actions.indexOf(one))} empty={t("decided_nothing")} />
    </>
  );
}

const END_TONES = { done: "good", failed: "bad", skipped: "quiet", cancelled: "warn", interrupted: "bad", unknown: "quiet" } as const;

function End({ one }: { one: EndedAction }) {
  if (!one.result) return <Badge tone="quiet" text={unsent(one)} />;
  return (
    <>
      <Badge tone={END_TONES[one.result]} text={t(`result_${one.result}`)} />
      {one.attempts > 1 && ` ${count("attempts", one.attempts)}`}
      {one.error && <> <Words text={one.error} /></>}
    </>
  );
}

function WentIn({ why: { execution } }: { why: Why }) {
  const lines = [...assigned(execution.inputs)];
  const reads = execution.reads.map((read) => `${callText(read)} = ${read.value === null ? t("read_failed") : valueText(read.value)}`);
  return (
    <ul class="plain">
      {[...lines, ...reads].map((line) => (
        <li key={line}>
          <code>{line}</code>
        </li>
      ))}
      {!given(execution) && <li>{t("went_in_nothing")}</li>}
      <li>
        {t("time_seen")} <Time us={execution.eventTimeUs} />
      </li>
    </ul>
  );
}

function State({ why: { stateBefore, stateAfter, memory } }: { why: Why }) {
  if (!stateBefore) {
    return (
      <p>
        {t("state_not_known")} <Words text={memory.note} />
      </p>
    );
  }
  const names = Object.keys(stateBefore);
  const before = (name: string) => valueText(stateBefore[name]);
  const after = (name: string) => (stateAfter ? valueText(stateAfter[name]) : t("not_known"));
  const columns: Column<string>[] = [
    { title: t("name"), cell: (name) => <code>{name}</code> },
    { title: t("state_before"), cell: before },
    { title: t("state_after"), cell: (name) => (before(name) === after(name) ? t("state_same") : <strong>{after(name)}</strong>) },
  ];
  return <Table caption={t("state_variables")} columns={columns} rows={names} keyOf={(name) => name} empty={t("state_none")} />;
}

const VERDICTS = { same: "good", differs: "bad", unknown: "warn" } as const;

function Again({ why: { again, memory } }: { why: Why }) {
  return (
    <>
      <p>
        <Badge tone={VERDICTS[again.verdict]} text={t(`again_${again.verdict}`)} /> {again.why && <Words text={again.why} />}
      </p>
      {again.verdict !== "same" && (
        <Facts
          rows={[
            [t("again_recorded"), <code>{again.recorded.join(", ") || t("decided_nothing")}</code>],
            [t("again_now"), <code>{again.decided.join(", ") || t("decided_nothing")}</code>],
          ]}
        />
      )}
      <p>
        {t("rule_memory")} <Words text={memory.note} /> {memory.executions > 0 && `· ${count("memory_ran", memory.executions)}`}{" "}
        {memory.unlike > 0 && <strong class="bad">{count("memory_unlike", memory.unlike)}</strong>}
      </p>
    </>
  );
}

function Program({ why: { program } }: { why: Why }) {
  return (
    <Facts
      rows={[
        [t("program"), <code>{program.id}</code>],
        [t("version"), program.version || t("not_known")],
        [t("signed_by"), program.signers.map((one) => <Signer key={one.publicKey} one={one} />)],
        [t("installed_by"), <Installed program={program} />],
        [t("parameters"), <>{assigned(program.params).join(", ") || "–"} {!program.paramsKnown && t("parameters_usual")}</>],
      ]}
    />
  );
}

function Signer({ one }: { one: Why["program"]["signers"][number] }) {
  return (
    <div>
      {one.name || t("signer_not_known")} <code>{one.fingerprint.slice(0, 16)}</code>{" "}
      <Badge tone={one.holds ? "good" : "bad"} text={t(one.holds ? "signature_holds" : "signature_fails")} />
    </div>
  );
}

function Installed({ program }: { program: Why["program"] }) {
  if (!program.installSeq) return <>{t("not_known")}</>;
  const record = t("record_number", { seq: program.installSeq });
  return program.deployment ? <><PageLink to={`/deployments/${program.deployment}`}>{program.deployment}</PageLink>, {record}</> : <>{record}</>;
}

function Chain({ why: { execution: one, chain } }: { why: Why }) {
  return (
    <Facts
      rows={[
        [t("chain_number"), t("chain_record", { seq: one.seq, epoch: one.epoch })],
        [t("chain_hash"), <code>{chain.hash}</code>],
        [t("chain_before"), <><code>{chain.prev}</code> <Fits fits={chain.prevFits} /></>],
        [t("chain_next"), <Fits fits={chain.nextFits} />],
        [t("chain_node"), chain.checkpoint ? t("chain_checkpoint", { seq: number(chain.checkpoint) }) : t("chain_no_checkpoint")],
        [t("chain_cosigned"), chain.cosigned ? <Badge tone="good" text={t("chain_cosigned_to", { seq: number(chain.cosignedSeq) })} /> : <Badge tone="warn" text={t("chain_not_cosigned")} />],
      ]}
    />
  );
}

function Fits({ fits }: { fits: boolean | null }) {
  if (fits === null) return <Badge tone="quiet" text={t("chain_gone")} />;
  return fits ? <Badge tone="good" text={t("chain_fits")} /> : <Badge tone="bad" text={t("chain_does_not_fit")} />;
}
