// A new deployment: what, where and how; first a dry run, then it begins.
import { useEffect, useRef, useState } from "preact/hooks";
import { ActionButton, ErrorText } from "../components/button";
import { Heading } from "../components/heading";
import { ApiError, ask, idempotencyKey, may } from "../data/api";
import type { Deployment, Plan } from "../data/api_types";
import { deploymentPath } from "../data/deployments";
import { type Brought, type Draft, newChange, newDraft, requestOf } from "../data/drafts";
import { watch } from "../data/feed";
import { NodesChoice, StrategyChoice } from "../deployments/choices";
import { PlanShown, isPossible } from "../deployments/plan";
import { RuleChoice } from "../deployments/rule_choice";
import { go, query } from "../shell/router";
import { count, number, t } from "../text/text";
import { span } from "../text/times";

const REPLAY_S = 60;
const ANSWER_MS = 1_000 * (REPLAY_S + 30);
type Tried = { plan: Plan; request: Record<string, unknown>; key: Record<string, string> };

export default function NewDeployment() {
  const [draft, setDraft] = useState<Draft>(() => newDraft(query.peek().get("rule") ?? "", query.peek().get("program") ?? ""));
  const [replayH, setReplayH] = useState("");
  const [tried, setTried] = useState<Tried | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [isBusy, setBusy] = useState(false);
  const brought = useRef<Record<string, Brought>>({});
  useEffect(() => watch({}), []);
  if (!may("deploy")) return <><Heading text={t("new_title")} /><p>{t("new_forbidden")}</p></>;
  const change = (next: Partial<Draft>) => {
    setDraft((old) => ({ ...old, ...next }));
    setTried(null); // another deployment than the one that was tried
  };
  const dryRun = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    setTried(null);
    const request = requestOf(draft, brought.current);
    const replay = replayH ? { replay: { spanS: Math.round(Number(replayH) * 3600), timeoutS: REPLAY_S } } : {};
    try {
      const plan = await ask<Plan>("POST", "/api/deployments/plan", { ...request, ...replay }, {}, AbortSignal.timeout(ANSWER_MS));
      setTried({ plan, request, key: idempotencyKey() });
    } catch (raised) {
      if (!(raised instanceof ApiError)) throw raised;
      setError(raised);
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <Heading text={t("new_title")} />
      <form class="draft" onSubmit={dryRun as never}>
        <Rules draft={draft} change={change} brought={brought.current} />
        <NodesChoice draft={draft} onChange={change} />
        <StrategyChoice draft={draft} onChange={change} />
        <div class="actions">
          <label>
            {t("replay_hours")} <input type="number" min="0.01" max="168" step="any" placeholder={t("replay_none")} value={replayH} onInput={(event) => setReplayH(event.currentTarget.value)} />
          </label>
          <button type="submit" disabled={isBusy}>
            {isBusy ? t("working") : t("dry_run")}
          </button>
        </div>
      </form>
      <div role="alert">{error && <ErrorText error={error} />}</div>
      <div role="status">{tried && <Outcome plan={tried.plan} />}</div>
      {tried && <PlanShown plan={tried.plan} />}
      {tried && isPossible(tried.plan) && tried.plan.nodes.length > 0 && <Start tried={tried} />}
    </>
  );
}

/** What the dry run found, in a sentence. */
function Outcome({ plan }: { plan: Plan }) {
  if (!isPossible(plan)) return <p class="waits bad">{t("plan_refused")}</p>;
  return <p class="waits">{count("plan_sums", plan.nodes.length, { steps: number(plan.steps), time: span(plan.leastS) })}</p>;
}

type RulesProps = { draft: Draft; change: (next: Partial<Draft>) => void; brought: Record<string, Brought> };

function Rules({ draft, change, brought }: RulesProps) {
  const { changes } = draft;
  const know = (rule: string, found: Brought | undefined) => {
    if (found) brought[rule] = found;
    else delete brought[rule];
  };
  return (
    <>
      {changes.map((one) => (
        <RuleChoice
          key={one.key}
          change={one}
          onChange={(next) => change({ changes: changes.map((other) => (other === one ? { ...one, ...next } : other)) })}
          onBrought={know}
          onRemove={changes.length > 1 ? () => change({ changes: changes.filter((other) => other !== one) }) : undefined}
        />
      ))}
      <p>
        <button type="button" onClick={() => change({ changes: [...changes, newChange()] })}>
          {t("another_rule")}
        </button>
      </p>
    </>
  );
}

function Start({ tried }: { tried: Tried }) {
  const start = async () => {
    const begun = await ask<Deployment>("POST", "/api/deployments", tried.request, tried.key);
    go(deploymentPath(begun.id));
  };
  return (
    <div class="actions">
      <ActionButton text={t("start")} role="deploy" question={count("ask_start", tried.plan.nodes.length)} act={start} />
    </div>
  );
}
