// A deployment that is being written: what the form holds, and the request that it means.
import type { Program } from "./api_types";

/** `programId` empty: the one that is offered. `boards`: programs for boards by chip, where somebody chose; empty: none. */
export type Change = { key: number; rule: string; programId: string; boards: Record<string, string>; isRemoved: boolean; params: Record<string, string> };
/** What a change brings: a program, and its builds for boards. */
export type Brought = { program: Program; boards: Program[] };
export type Where = "labels" | "names" | "all";
export type Draft = {
  changes: Change[];
  where: Where;
  labels: string[];
  names: string[];
  exclude: string[];
  strategy: string;
  /** Numbers as they were typed; empty: as the strategy has it. */
  batch: string;
  batchIsPercent: boolean;
  steps: string;
  observeS: string;
  samplesMin: string;
  failuresMaxPercent: string;
  startsMax: string;
  rollbackOnError: boolean;
  deadlineH: string;
};

export type Param = { name: string; type: string; default: unknown; low?: number; high?: number; members?: string[] };
export const paramsOf = (program: Program): Param[] => program.params as unknown as Param[];
export const US = 1e6; // durations are microseconds in the API and seconds in the form

/** Return a value of a parameter for people. */
export function shown(param: Param, value: unknown): string {
  if (value === undefined || value === null) return "–";
  if (param.type === "duration") return String(Number(value) / US);
  if (param.members && typeof value === "number") return param.members[value] ?? String(value);
  return String(value);
}

let keys = 0;
export const newChange = (rule = "", programId = ""): Change => ({ key: ++keys, rule, programId, boards: {}, isRemoved: false, params: {} });

export const newDraft = (rule: string, programId: string): Draft => ({
  changes: [newChange(rule, programId)],
  where: "labels",
  labels: [],
  names: [],
  exclude: [],
  strategy: "canary",
  batch: "",
  batchIsPercent: false,
  steps: "",
  observeS: "",
  samplesMin: "",
  failuresMaxPercent: "",
  startsMax: "",
  rollbackOnError: true,
  deadlineH: "",
});

/** Which options a strategy heeds. */
export const heeds = (strategy: string, option: "batch" | "steps"): boolean =>
  option === "batch" ? strategy === "rolling" : strategy === "canary";

/** Return the programs of a rule for boards, by chip, beside the one for nodes; `known` are the last uploaded first. */
export function forBoards(known: readonly Program[], chosen: Program | undefined): Map<string, Program[]> {
  const chips = [...new Set(known.map((one) => one.chip))].filter((chip) => chip && chip !== chosen?.chip).sort();
  return new Map(chips.map((chip) => [chip, known.filter((one) => one.chip === chip)]));
}

/** Return which of the programs for a chip goes with the chosen one: that of the same version, until somebody chooses. */
export const forChip = (programs: readonly Program[], chosen: Program | undefined, id: string | undefined): Program | undefined =>
  programs.find((one) => (id === undefined ? one.version === chosen?.version : one.id === id));

/** Return the request that a draft means. `brought`: what its changes bring, by rule; parameters are read by their types. */
export function requestOf(draft: Draft, brought: Record<string, Brought>): Record<string, unknown> {
  const number = (text: string) => (text.trim() ? Number(text) : undefined);
  const batch = heeds(draft.strategy, "batch") ? number(draft.batch) : undefined;
  const steps = heeds(draft.strategy, "steps") ? numbers(draft.steps) : [];
  return withoutEmpty({
    changes: draft.changes.map((one) => changeOf(one, brought[one.rule])),
    ...whereOf(draft),
    exclude: draft.where !== "names" && draft.exclude.length ? draft.exclude : undefined,
    strategy: draft.strategy,
    options: withoutEmpty({
      [draft.batchIsPercent ? "batchPercent" : "batch"]: batch,
      steps: steps.length ? steps : undefined,
      observeS: number(draft.observeS),
      samplesMin: number(draft.samplesMin),
      failuresMaxPercent: number(draft.failuresMaxPercent),
      startsMax: number(draft.startsMax),
    }),
    rollbackOnError: draft.rollbackOnError,
    deadlineS: draft.deadlineH.trim() ? Math.round(Number(draft.deadlineH) * 3600) : undefined,
  });
}

const withoutEmpty = (from: Record<string, unknown>) => Object.fromEntries(Object.entries(from).filter(([, value]) => value !== undefined));
const numbers = (text: string) => text.split(",").map((one) => one.trim()).filter(Boolean).map(Number);

function whereOf(draft: Draft): Record<string, unknown> {
  if (draft.where === "all") return { all: true };
  if (draft.where === "names") return { nodeIds: draft.names };
  return { labels: Object.fromEntries(draft.labels.map((one) => [one.slice(0, one.indexOf("=")), one.slice(one.indexOf("=") + 1)])) };
}

function changeOf(one: Change, brought: Brought | undefined): Record<string, unknown> {
  if (one.isRemoved) return { rule: one.rule, remove: true };
  const typed = Object.entries(one.params).filter(([, value]) => value !== "");
  const params = Object.fromEntries(typed.map(([name, value]) => [name, valueOf(value, brought && paramsOf(brought.program).find((param) => param.name === name))]));
  const boards = brought?.boards.map((program) => ({ programId: program.id }));
  return withoutEmpty({
    rule: one.rule,
    programId: one.programId || brought?.program.id,
    boardPrograms: boards?.length ? boards : undefined,
    params: typed.length ? params : undefined,
  });
}

function valueOf(text: string, param: Param | undefined): unknown {
  if (param?.type === "bool") return text === "true";
  if (param?.type === "duration") return Math.round(Number(text) * US);
  return param?.type === "int" || param?.type === "float" ? Number(text) : text;
}
