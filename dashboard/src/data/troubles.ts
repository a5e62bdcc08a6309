// What is wrong in the cluster, the worst first, each with since when and what to do: made of what the API tells.
import type { Alarm, DeploymentSummary, NodeRow, Status } from "./api_types";
import { type Key, t } from "../text/text";

export type Trouble = {
  key: string;
  /** 0 is the worst. */
  rank: number;
  /** What it is about, in the language of the page. */
  title: string;
  /** The page that shows more. */
  to: string;
  /** The evidence, in the words of the coordinator. */
  evidence: string;
  /** Microseconds since 1970; 0: not known. */
  sinceUs: number;
  /** What to do, in the language of the page. */
  nextStep: string;
};

const OF_DEPLOYMENTS: readonly Alarm["kind"][] = ["deploymentFailed", "lateFailure"];
/** The kinds of alarms, the worst first: what cannot be trusted or is lost for ever, then what fails, then what will. */
export const ALARM_KINDS: readonly Alarm["kind"][] = [
  "nodeInDoubt",
  "storeLost",
  "nodeAhead",
  "archiveDamaged",
  "recordsLost",
  "lastGoodRefused",
  "lateFailure",
  "deploymentFailed",
  "certificateExpires",
];

/** Return what is wrong, by what was read so far. */
export function troublesOf(
  status: Status | null,
  alarms: readonly Alarm[],
  nodes: readonly NodeRow[],
  deployments: readonly DeploymentSummary[],
): Trouble[] {
  const all = [...alarms.map(ofAlarm), ...nodes.flatMap(ofNode), ...deployments.flatMap(ofDeployment), ...(status?.trouble ? [ofStore(status)] : [])];
  return all.sort((one, other) => one.rank - other.rank || one.sinceUs - other.sinceUs || one.key.localeCompare(other.key));
}

function ofStore(status: Status): Trouble {
  return { key: "store", rank: 0, title: t("trouble_store"), to: "/", evidence: status.trouble, sinceUs: 0, nextStep: t("next_store") };
}

/** Return the page of what an alarm is about; that of alarms where there is none: a file has no page. */
export function pageOfAlarm(one: Alarm): string {
  if (OF_DEPLOYMENTS.includes(one.kind)) return `/deployments/${one.subject}`;
  return one.subject.includes(":") ? "/alarms" : `/nodes/${encodeURIComponent(one.subject)}`;
}

/** Return what to do about an alarm: the same that the coordinator says, in the language of the page. */
export const nextOfAlarm = (one: Alarm): string => t(`next_alarm_${one.kind}` as Key, { subject: one.subject });

export const titleOfAlarm = (one: Alarm): string => t(`alarm_${one.kind}` as Key, { subject: one.subject });

/** Open alarms, the worst first: what nobody looks after yet, then by kind, then what lasts longest. */
export const worstFirst = (alarms: readonly Alarm[]): Alarm[] =>
  [...alarms].sort(
    (one, other) =>
      Number(!!one.acknowledgedUs) - Number(!!other.acknowledgedUs) ||
      ALARM_KINDS.indexOf(one.kind) - ALARM_KINDS.indexOf(other.kind) ||
      one.sinceUs - other.sinceUs,
  );

export function ofAlarm(one: Alarm): Trouble {
  const [to, title] = [pageOfAlarm(one), titleOfAlarm(one)];
  const rank = one.acknowledgedUs ? 4 : 1;
  return { key: `alarm ${one.id}`, rank, title, to, evidence: one.evidence, sinceUs: one.sinceUs, nextStep: nextOfAlarm(one) };
}

function ofNode(row: NodeRow): Trouble[] {
  const about = { key: `node ${row.name}`, to: `/nodes/${encodeURIComponent(row.name)}` };
  if (row.inDoubt) return []; // it has an alarm
  if (!row.connected) {
    const nextStep = row.board ? t("next_board_offline", { gateway: row.board.gateway }) : t("next_offline", { name: row.name });
    return [{ ...about, rank: 2, title: t("trouble_offline", { name: row.name }), evidence: row.problem, sinceUs: row.lastSeenUs, nextStep }];
  }
  if (row.failing) {
    const evidence = row.failingFirst.join("; ");
    return [{ ...about, rank: 2, title: t("trouble_failing", { name: row.name }), evidence, sinceUs: row.failingSinceUs, nextStep: t("next_failing") }];
  }
  if (row.refused) {
    const nextStep = t("next_refused");
    return [{ ...about, rank: 2, title: t("trouble_refused", { name: row.name }), evidence: "", sinceUs: row.failingSinceUs, nextStep }];
  }
  if (row.board && row.board.state !== "online" && row.board.state !== "updating") {
    const state = t(`board_${row.board.state}`);
    const nextStep = t("next_board", { gateway: row.board.gateway });
    return [{ ...about, rank: 2, title: t("trouble_board", { name: row.name, state }), evidence: "", sinceUs: row.board.sinceUs, nextStep }];
  }
  return [];
}

function ofDeployment(one: DeploymentSummary): Trouble[] {
  return one.paused.map((pause) => ({
    key: `deployment ${one.id} ${pause.code}`,
    rank: 3,
    title: t("trouble_paused", { name: one.name }),
    to: `/deployments/${one.id}`,
    evidence: pause.text,
    sinceUs: pause.sinceUs,
    nextStep: t("next_paused", { id: one.id }),
  }));
}
