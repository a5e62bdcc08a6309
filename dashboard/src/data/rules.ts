// Where a rule runs: which program in which slot of which node, as the node told last, beside what it shall run.
import type { Tone } from "../components/badge";
import { type Key, t } from "../text/text";
import type { Health, Node } from "./api_types";

export type Running = {
  node: string;
  connected: boolean;
  slot: string;
  programId: string;
  state: string;
  tone: Tone;
  detail: string;
  params: Record<string, unknown>;
};

const TONES: Record<Health["state"], Tone> = { running: "good", connecting: "warn", stopped: "quiet", failed: "bad" };

export function runningOf(node: Node, rule: string): Running[] {
  const about = { node: node.name, connected: node.connected };
  const wanted = node.rules.find((one) => one.rule === rule);
  const told = node.health.filter((one) => one.kind === "rule" && one.name === rule);
  const running = told.map((one) => ({
    ...about,
    slot: one.slot || "active",
    programId: one.programId,
    state: t(`health_${one.state}`),
    tone: node.connected ? TONES[one.state] : ("quiet" as Tone),
    detail: one.detail,
    params: wanted?.wanted?.programId === one.programId ? wanted.wanted.params : {},
  }));
  if (!wanted || told.some((one) => one.programId === wanted.wanted?.programId)) return running;
  const state = wanted.wanted ? wanted.state : "removed";
  const missing = {
    ...about,
    slot: "active",
    programId: wanted.wanted?.programId ?? "",
    state: t(`wanted_${state}` as Key),
    tone: (state === "refused" ? "bad" : state === "pending" ? "warn" : "quiet") as Tone,
    detail: wanted.reason,
    params: wanted.wanted?.params ?? {},
  };
  return [...running, missing];
}
