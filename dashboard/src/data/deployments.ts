// What one may do with a deployment, where it is, and what it waits for in words: as `eyeflow deployments show` tells.
import type { Deployment, DeploymentSummary, NodeProgress } from "./api_types";
import { type Key, count, language, listed, number, t } from "../text/text";
import { span } from "../text/times";

export const VERBS = ["pause", "resume", "promote", "approve", "cancel", "rollback", "retry"] as const;
export type Verb = (typeof VERBS)[number];
export const STRATEGIES = ["immediate", "rolling", "canary", "blue_green", "shadow"] as const;
/** States of nodes, those first that somebody should look at. */
export const NODE_STATES = ["refused", "silent", "sent", "waiting", "returning", "held", "away", "staged", "installed", "returned"] as const;
export const STATES = ["pending", "installing", "observing", "rollingBack", "succeeded", "failed", "cancelled", "superseded", "rolledBack"] as const;

/** Several sentences in one; French has a blank before the semicolon. */
const together = (parts: readonly string[]): string => parts.join(language.value === "fr" ? "\u202f; " : "; ");

const NAMED_MAX = 3;
const AWAITED = ["away", "waiting", "sent", "returning"];
const ASKED = ["sent", "waiting", "returning"];

export const deploymentPath = (id: string) => `/deployments/${encodeURIComponent(id)}`;
export const rulePath = (name: string) => `/rules/${encodeURIComponent(name)}`;

/** Return what may be done with a deployment in its state. Whoever began it, by whichever token, cannot approve it. */
export function possible(one: Deployment): Verb[] {
  if (one.over) return one.state === "succeeded" ? ["rollback", "retry"] : ["retry"];
  if (one.state === "rollingBack") return [];
  const codes = one.paused.map((pause) => pause.code);
  const found: Verb[] = [codes.includes("user") ? "resume" : "pause"];
  if (codes.includes("approval") && !one.own) found.push("approve");
  if (one.state === "observing") found.push("promote");
  return [...found, "cancel"];
}

/** Return which step of its strategy a deployment is at. */
export function stepText(one: DeploymentSummary): string {
  const { strategy, options, phase } = one;
  if (strategy === "canary") {
    const steps = options.steps ?? [];
    const values = { n: number(Math.min(phase, steps.length) + 1), of: number(steps.length + 1) };
    const share = steps[phase];
    return share === undefined ? t("step_canary_whole", values) : t("step_canary", { ...values, share: number(share, 2) });
  }
  if (strategy === "rolling") {
    const size = options.batchPercent ? `${number(options.batchPercent, 2)}\u202f%` : number(options.batch);
    return t("step_rolling", { n: number(phase + 1), size });
  }
  if (strategy === "blue_green") return t(phase ? "step_switch" : "step_stage");
  return t(strategy === "shadow" ? "step_shadow" : "step_immediate");
}

/** Return what a deployment waits for, or how it ended: one sentence in the language of the page. */
export function standing(one: Deployment): string {
  if (one.state === "failed" && !one.rollbackOnError) return t("ended_failed_there");
  if (one.over) return t(`ended_${one.state}` as Key);
  const paused = one.paused.map((pause) => pauseText(pause, one));
  const canPromote = one.paused.some((pause) => pause.code === "evidence");
  const waits = t(canPromote ? "waits_for_or_promotion" : "waits_for", { what: together(awaited(one)) });
  if (one.state === "rollingBack") return `${t("goes_back")} ${waits}`;
  return paused.length ? `${t("paused_because", { why: listed(paused) })} ${waits}` : waits;
}

/** Return why a deployment does not go on; what only the coordinator can say is in its words. */
export function pauseText(pause: { code: string; text: string }, one: Pick<Deployment, "verdict">): string {
  const who = /^paused by (.+)$/.exec(pause.text)?.[1];
  if (pause.code === "user") return who ? t("pause_user_by", { who }) : t("pause_user");
  if (pause.code === "approval") return t("pause_approval");
  if (pause.code === "evidence") return t(one.verdict?.executions ? "pause_evidence" : "pause_no_executions");
  return pause.text;
}

function awaited(one: Deployment): string[] {
  const codes = one.paused.map((pause) => pause.code);
  const offline = one.nodes.filter((node) => AWAITED.includes(node.state) && !node.connected);
  const asked = one.nodes.filter((node) => ASKED.includes(node.state) && node.connected);
  const left = one.state === "observing" && one.verdict ? one.verdict.leftS : 0;
  const found = [
    codes.includes("user") ? t("waits_user") : "",
    codes.includes("approval") ? t("waits_approval") : "",
    ...lacking(one),
    asked.length ? t("waits_answer", { nodes: named(asked) }) : "",
    left > 0 ? t("waits_watching", { time: span(left) }) : "",
    offline.length ? t("waits_link", { nodes: named(offline) }) : "",
  ].filter(Boolean);
  return found.length ? found : [t("waits_look")];
}

/** Return which executions a verdict still needs, and where they would come from. */
function lacking(one: Deployment): string[] {
  const verdict = one.verdict;
  if (!verdict || one.state !== "observing") return [];
  const judged = one.nodes.filter((node) => node.phase === one.phase);
  const nodes = judged.length ? named(judged) : t("its_nodes");
  const silent = verdict.silent.length ? [t("waits_silent", { nodes: listed(verdict.silent) })] : [];
  const { executions, executionsBefore, pending } = verdict.missing;
  const ending = pending ? [count("waits_pending", pending, { nodes })] : [];
  if (executions) return [count("waits_executions", executions, { nodes }), ...ending, ...silent];
  if (executionsBefore) return [count("waits_executions_before", executionsBefore, { nodes }), ...ending, ...silent];
  return [...ending, ...silent];
}

function named(nodes: readonly NodeProgress[]): string {
  const names = nodes.slice(0, NAMED_MAX).map((one) => one.node);
  const more = nodes.length - names.length;
  return listed(more ? [...names, count("more_nodes", more)] : names);
}

/** Return how many nodes stand in each state, those first that somebody should look at. */
export function countsText(counts: Record<string, number>): string {
  const found = NODE_STATES.filter((state) => counts[state]).map((state) => `${number(counts[state])} ${t(`progress_${state}`)}`);
  return found.join(", ") || "–";
}

/** Return what a verdict rests on, in one sentence; empty where it rests on something else than failed executions. */
export function verdictText({ verdict, strategy, options }: Deployment): string {
  if (!verdict || (verdict.kind === "fail" && verdict.e < verdict.alarmE)) return "";
  if (!verdict.executions) return t("verdict_none");
  const said = t(verdict.counts === "actions" ? "verdict_share_acted" : "verdict_share", { failures: number(verdict.failures), executions: number(verdict.executions) });
  const isBeside = ["canary", "shadow"].includes(strategy);
  const before = { failures: number(verdict.failuresBefore), executions: number(verdict.executionsBefore) };
  const compared = verdict.executionsBefore ? t(isBeside ? "verdict_beside" : "verdict_before", before) : "";
  const allowed = isBeside && verdict.executionsBefore ? "" : t("verdict_allowed", { percent: number(options.failuresMaxPercent, 2) });
  return together([said, compared, allowed].filter(Boolean));
}

/** Return percents as `7.3 to 32.8 %`. */
export function intervalText(interval: { lowPercent: number; highPercent: number } | null): string {
  if (!interval) return "–";
  const digits = interval.highPercent < 1 ? 3 : 1;
  return t("interval", { low: number(interval.lowPercent, digits), high: number(interval.highPercent, digits) });
}

export const strategyText = (name: string): string => t(`strategy_${name}` as Key) || name;
